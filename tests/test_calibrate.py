import json

import numpy as np
import pytest

from classifier.__main__ import main
from classifier.calibrate import cross_validated_ece, fit_temperatures, perfect_ece
from classifier.examples import MISSING
from classifier.folder import CALIBRATION
from classifier.predict import Classifier


def overconfident(n=2000, factor=3.0, seed=0):
    """Logits whose softmax is right, made sharper by a factor."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 4)) * 2
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (rng.random((n, 1)) > shares.cumsum(1)).sum(1)
    return {"kind": factor * logits}, {"kind": labels}


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0])
def test_the_temperature_undoes_what_was_done_to_the_logits(factor):
    assert fit_temperatures(*overconfident(factor=factor))["kind"] == pytest.approx(factor, rel=0.1)


def test_the_error_after_is_smaller_and_judged_on_other_messages():
    logits, labels = overconfident()
    found = cross_validated_ece(logits, labels)["kind"]
    assert found["ece_before"] > 0.15
    assert found["ece_after"] < 0.04
    assert found["n"] == 2000


def test_chance_alone_leaves_an_error_that_shrinks_with_more_messages():
    confidence = np.linspace(0.5, 1, 320)
    few, limit = perfect_ece(confidence)
    many, _ = perfect_ece(np.repeat(confidence, 25))
    assert 0.02 < few < limit < 0.1
    assert many == pytest.approx(few / 5, rel=0.25)  # as the standard error of a mean
    assert perfect_ece(np.ones(50)) == (0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_a_calibrated_model_shows_about_what_chance_leaves(seed):
    found = cross_validated_ece(*overconfident(n=300, seed=seed))["kind"]
    assert found["ece_after"] < 1.5 * found["ece_perfect_95"] < found["ece_before"]


def test_messages_without_a_label_are_left_out():
    logits, labels = overconfident()
    expected = fit_temperatures({"kind": logits["kind"][:500]}, {"kind": labels["kind"][:500]})
    labels["kind"][500:] = MISSING
    assert fit_temperatures(logits, labels) == expected
    labels["kind"][:] = MISSING
    assert fit_temperatures(logits, labels) == {}


def test_a_handful_of_messages_can_be_cross_validated():
    logits, labels = overconfident(n=3)
    assert np.isfinite(cross_validated_ece(logits, labels)["kind"]["ece_after"])


def write_messages(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_command_rewrites_the_calibration_and_never_the_weights(own_folder, tmp_path, capsys):
    rows = [{"text": text, "intent": "billing_issue"} for text in ("i was charged twice", "refund my card", "help")]
    file = write_messages(tmp_path / "data.jsonl", rows)
    calibration = own_folder / CALIBRATION
    calibration.write_text('{"temperatures": {"intent": 2.0, "urgency": 1.5}, "note": "kept", "automation": {"n": 1}}')
    before = {path: path.read_bytes() for path in own_folder.rglob("*") if path.is_file() and path != calibration}
    assert main(["calibrate", "--model", str(own_folder), "--data", file, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    written = json.loads(calibration.read_text())
    assert written["temperatures"]["intent"] == found["intent"]["temperature"] != 2.0
    assert written["temperatures"]["urgency"] == 1.5 and written["note"] == "kept"
    assert "automation" not in written, "it was counted under other temperatures"
    assert found["intent"]["before"] == 2.0
    assert {path: path.read_bytes() for path in before} == before


def test_calibrating_twice_changes_nothing_more(own_folder, tmp_path, capsys):
    rows = [{"text": text, "intent": "billing_issue"} for text in ("i was charged twice", "refund my card")]
    rows += [{"text": text, "intent": "general_question"} for text in ("what are the hours", "help please")]
    file = write_messages(tmp_path / "data.jsonl", rows)
    found = []
    for _ in range(2):
        main(["calibrate", "--model", str(own_folder), "--data", file, "--json"])
        found.append(json.loads(capsys.readouterr().out)["intent"]["temperature"])
    assert found[1] == pytest.approx(found[0], rel=0.01)


def test_unlabelled_messages_are_a_clear_error_and_change_nothing(own_folder, tmp_path, capsys):
    before = (own_folder / CALIBRATION).read_bytes()
    file = write_messages(tmp_path / "data.jsonl", [{"text": "help", "intent": None}])
    assert main(["calibrate", "--model", str(own_folder), "--data", file]) == 2
    assert "calibration needs labelled messages" in capsys.readouterr().err
    assert (own_folder / CALIBRATION).read_bytes() == before


def test_answers_use_the_new_temperature(own_folder):
    soft = json.dumps({"temperatures": {"intent": 50.0}})
    sharp = Classifier.load(own_folder).classify("i was charged twice").confidence["intent"]
    (own_folder / CALIBRATION).write_text(soft)
    assert Classifier.load(own_folder).classify("i was charged twice").confidence["intent"] < sharp
