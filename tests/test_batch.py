import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from classifier.batch import result_columns, score_rows
from classifier.errors import ClassifierError
from classifier.predict import Classifier
from classifier.rows import Row, open_table
from classifier.scored_file import STEP, ScoredFile
from classifier.windows import WINDOW

ROOT = Path(__file__).parents[1]


def make_csv(path, count, text="please refund order {}, my card was charged twice"):
    path.write_text("id,message\n" + "".join(f'{n},"{text.format(n)}"\n' for n in range(count)), encoding="utf-8")
    return path


def finish(scored, source, classifier):
    with open_table(source) as table:
        return list(scored.score(table, classifier))


def test_rows_come_back_in_order_with_the_answers_of_single_messages(classifier):
    texts = ["help", "please refund my card", "what are your hours", "help", "x " * 200] * 5
    rows = [Row([number, text]) for number, text in enumerate(texts)]
    scored = list(score_rows(classifier, rows, 1))
    columns = ["id", "text", *result_columns(classifier)]
    assert [row[0] for row in scored] == list(range(25))
    for row in scored:
        found, single = dict(zip(columns, row, strict=True)), classifier.classify(row[1])
        assert {task: found[task] for task in classifier.tasks.task_names} == single.labels
        assert found["route_action"] == single.route.action
        assert found["truncated"] == single.truncated
        assert found["intent_confidence"] == pytest.approx(single.confidence["intent"], abs=1e-3)


def test_bad_rows_keep_their_cells_and_say_why(classifier):
    rows = [
        Row(["a", "help me"]),
        Row(["b", None], "The cell is empty."),
        Row(["c", "\u200b\u200b"]),
        Row(["d", "help"]),
    ]
    scored = list(score_rows(classifier, rows, 1))
    assert [row[0] for row in scored] == ["a", "b", "c", "d"]
    assert [row[-1] for row in scored][:2] == ["", "The cell is empty."]
    assert "nothing to read" in scored[2][-1]
    assert scored[1][2:-1] == [None] * (len(result_columns(classifier)) - 1)


def test_memory_stays_bounded_whatever_the_length(classifier):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield Row(["help me please"])

    scored = score_rows(classifier, endless(), 0)
    for _ in range(10):
        next(scored)
    assert taken <= 2 * WINDOW
    scored.close()


def test_stopping_keeps_what_is_done_and_resuming_adds_the_rest(classifier, tmp_path):
    source = make_csv(tmp_path / "in.csv", 3000)
    with open_table(source) as table:
        scored = ScoredFile.create(tmp_path / "out.scored", table, classifier)
        steps = scored.score(table, classifier)
        assert next(steps).rows == STEP
        steps.close()
    assert len(list(scored.rows())) == STEP
    with open_table(source) as table:
        scored = ScoredFile.create(tmp_path / "out.scored", table, classifier, resume=True)
        *_, last = scored.score(table, classifier)
    assert last.rows == 3000
    assert last.share == 1.0
    assert [int(row[0]) for row in scored.rows()] == list(range(3000))


def test_a_half_written_line_is_scored_again(classifier, tmp_path):
    source = make_csv(tmp_path / "in.csv", 40)
    with open_table(source) as table:
        scored = ScoredFile.create(tmp_path / "out.scored", table, classifier)
        list(scored.score(table, classifier))
    whole = scored.path.read_bytes()
    for cut in (1, 5, 300, 2000):
        scored.path.write_bytes(whole[:-cut])
        with open_table(source) as table:
            scored = ScoredFile.create(scored.path, table, classifier, resume=True)
            list(scored.score(table, classifier))
        assert scored.path.read_bytes() == whole


def test_resuming_with_another_table_column_or_model_is_refused(classifier, tiny_folder, tmp_path):
    first, second = make_csv(tmp_path / "a.csv", 5), make_csv(tmp_path / "b.csv", 6)
    with open_table(first) as table:
        ScoredFile.create(tmp_path / "out.scored", table, classifier)
    with open_table(second) as table, pytest.raises(ClassifierError, match="begun with another table"):
        ScoredFile.create(tmp_path / "out.scored", table, classifier, resume=True)
    with open_table(first, text_column="id") as table, pytest.raises(ClassifierError, match="another text_column"):
        ScoredFile.create(tmp_path / "out.scored", table, classifier, resume=True)
    other = Classifier.load(tiny_folder, backend="onnx-fp32")
    with open_table(first) as table, pytest.raises(ClassifierError, match="another model"):
        ScoredFile.create(tmp_path / "out.scored", table, other, resume=True)


def test_resuming_with_other_files_of_the_model_policy_or_decoding_is_refused(own_folder, tmp_path):
    source = make_csv(tmp_path / "in.csv", 5)
    begun = Classifier.load(own_folder)
    with open_table(source) as table:
        ScoredFile.create(tmp_path / "out.scored", table, begun)
    with open_table(source, encoding="cp1252") as table, pytest.raises(ClassifierError, match="another encoding"):
        ScoredFile.create(tmp_path / "out.scored", table, begun, resume=True)
    policy = begun.policy.changed(always_escalate=["card"])  # under the same version
    begun.use_policy(policy)
    with open_table(source) as table, pytest.raises(ClassifierError, match="another policy"):
        ScoredFile.create(tmp_path / "out.scored", table, begun, resume=True)
    calibration = own_folder / "calibration.json"
    calibration.write_text(calibration.read_text() + "\n")
    with open_table(source) as table, pytest.raises(ClassifierError, match="another model"):
        ScoredFile.create(tmp_path / "out.scored", table, Classifier.load(own_folder), resume=True)


def test_only_the_owner_can_read_what_is_not_finished(classifier, tmp_path):
    with open_table(make_csv(tmp_path / "in.csv", 1)) as table:
        path = ScoredFile.create(tmp_path / "out.scored", table, classifier).path
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_scored_file_is_refused(tmp_path):
    (tmp_path / "x").write_text("hello\n")
    with pytest.raises(ClassifierError, match="holds no scored rows"):
        ScoredFile(tmp_path / "x")


def test_result_columns_never_overwrite_those_of_the_table(classifier, tmp_path):
    (tmp_path / "in.csv").write_text("message,intent,error\nplease help me,mine,none\n")
    with open_table(tmp_path / "in.csv") as table:
        scored = ScoredFile.create(tmp_path / "out.scored", table, classifier)
        list(scored.score(table, classifier))
    (row,) = scored.rows()
    found = dict(zip(scored.columns, row, strict=True))
    assert (found["intent"], found["error"], found["error_2"]) == ("mine", "none", "")
    assert found["intent_2"] in classifier.tasks.task("intent").label_names


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_kill_in_the_middle_then_resume_loses_and_doubles_no_row(tiny_folder, tmp_path):
    source, target = make_csv(tmp_path / "in.csv", 12_000), tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "classifier", "score", str(source), "-o", str(target)]
    command += ["--model", str(tiny_folder), "--quiet", "--resume"]
    checkpoint = tmp_path / "out.jsonl.scored"
    kills = 0
    for needed in (20_000, 1_000_000):
        process = subprocess.Popen(command, cwd=ROOT)
        while process.poll() is None and not (checkpoint.exists() and checkpoint.stat().st_size > needed):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills == 2
    assert not target.exists()
    assert 0 < sum(1 for _ in checkpoint.open("rb")) < 12_000
    subprocess.run(command, cwd=ROOT, check=True)
    rows = [json.loads(line) for line in target.open(encoding="utf-8")]
    assert [int(row["id"]) for row in rows] == list(range(12_000))
    assert not checkpoint.exists()


@pytest.mark.nightly
def test_two_hundred_thousand_rows_in_a_gigabyte(tiny_folder, tmp_path):
    source = make_csv(tmp_path / "in.csv", 200_000)
    code = (
        "import resource, sys; from classifier.__main__ import main;"
        f"assert main(['score', {str(source)!r}, '-o', {str(tmp_path / 'out.csv')!r}, '--model', {str(tiny_folder)!r},"
        " '--quiet']) == 0; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert int(ran.stdout) < 1 << 20  # KiB
    with open_table(tmp_path / "out.csv") as table:
        assert [int(row.cells[0]) for row in table] == list(range(200_000))
