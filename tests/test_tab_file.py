import csv
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from waiting import finished

import app
from classifier import file_report, file_summary
from classifier.file_endpoint import result_file
from classifier.jobs import STOPPED, JobQueue
from classifier.rows import open_table
from classifier.scored_file import STEP, ScoredFile
from classifier.tab_file import ORDERS, _FileTab


@pytest.fixture
def make(tmp_path):
    def csv_file(count, name="in.csv"):
        path = tmp_path / name
        path.write_text("id,message\n" + "".join(f"{n},please refund my order {n}\n" for n in range(count)))
        return path

    return csv_file


@pytest.fixture
def served(classifier, monkeypatch):
    """A page of its own, with its queue in hand."""
    queues = []
    monkeypatch.setattr(app, "JobQueue", lambda *args: queues.append(JobQueue(*args)) or queues[-1])
    demo = app.build_demo(classifier)
    _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True)
    yield url, queues[0]
    demo.close()


def scored(classifier, source):
    with open_table(source) as table:
        found = ScoredFile.create(source.with_suffix(".scored"), table, classifier)
        list(found.score(table, classifier))
    return found


def test_the_endpoint_tells_its_progress_and_returns_the_scored_table(served, make):
    job = Client(served[0], verbose=False).submit(handle_file(make(STEP * 20)), "message", api_name="/classify_file")
    updates = list(job)
    progress, path = updates[-1]
    assert (progress["state"], progress["rows"], progress["share"]) == ("done", STEP * 20, 1.0)
    assert len({update[0]["job"] for update in updates}) == 1
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        assert [int(row["id"]) for row in csv.DictReader(file)] == list(range(STEP * 20))


def test_a_clients_cancel_really_stops_the_job(served, make):
    url, queue = served
    call = Client(url, verbose=False).submit(handle_file(make(STEP * 2000)), "", api_name="/classify_file")
    while not (call.outputs() and call.outputs()[-1][0]["rows"]):
        time.sleep(0.02)
    job = queue.get(call.outputs()[-1][0]["job"])
    call.cancel()
    finished(job)
    assert job.state == STOPPED
    assert 0 < job.progress.rows < STEP * 2000


@pytest.mark.parametrize(
    ("content", "column", "sentence"),
    [("", "", "is empty"), ("id,message\n1,hello there\n", "body", "no column 'body'")],
)
def test_a_wrong_file_is_refused_with_one_sentence(served, tmp_path, content, column, sentence):
    (tmp_path / "wrong.csv").write_text(content or "\n")
    with pytest.raises(AppError, match=sentence):
        Client(served[0], verbose=False).predict(handle_file(tmp_path / "wrong.csv"), column, api_name="/classify_file")


def test_counts_of_the_report_add_up(classifier, tmp_path):
    (tmp_path / "in.csv").write_text('message\nplease help me\n""\nrefund my card now\nplease help me\n')
    summary = file_summary.summarise(scored(classifier, tmp_path / "in.csv"), classifier.tasks)
    assert (summary.rows, summary.errors) == (4, 1)
    for counts in (
        *summary.labels.values(),
        *summary.confidence.values(),
        summary.pairs,
        summary.lengths,
        summary.decisions,
    ):
        assert counts.total() == 3
    shown = file_report.charts(summary, classifier.tasks, classifier.policy)
    assert "error" not in shown
    assert "<figcaption>Recommended action</figcaption>" in shown and "<figcaption>Decision</figcaption>" in shown


def test_rows_are_chosen_by_label_confidence_and_doubt(classifier, make):
    found = scored(classifier, make(500))
    rows = file_summary.choose_rows(found, classifier.tasks)
    assert len(rows) == file_summary.SHOWN_ROWS
    assert [row.doubt for row in rows] == sorted((row.doubt for row in rows), reverse=True)
    assert [row.number for row in file_summary.choose_rows(found, classifier.tasks, by_doubt=False)] == [*range(1, 201)]
    task = classifier.tasks.tasks[0]
    some = [
        file_summary.choose_rows(found, classifier.tasks, label=f"{task.name}: {label}") for label in task.label_names
    ]
    assert all(
        row.labels[task.name] == label for rows, label in zip(some, task.label_names, strict=True) for row in rows
    )
    middle = sorted(1 - row.doubt for row in file_summary.scored_rows(found, classifier.tasks))[250]
    assert all(
        1 - row.doubt <= middle for row in file_summary.choose_rows(found, classifier.tasks, most_confidence=middle)
    )


def test_an_error_stands_under_its_message(classifier, tmp_path):
    (tmp_path / "in.csv").write_text('id,message\n1,please help me\n2,""\n')
    rows = file_summary.choose_rows(scored(classifier, tmp_path / "in.csv"), classifier.tasks)
    shown = file_report.rows_table(rows, classifier.tasks, classifier.policy)
    titles = [part.split("<")[0] for part in shown.split('<th scope="col">')[1:]]
    assert titles == ["Row", "Message", "Intent", "Urgency", "Sentiment", "Recommended action", "Scope", "Decision"]
    assert '<td>2</td><td class=long><p class="row-error">⚠️ The cell ' in shown


@pytest.fixture
def ui(classifier, tmp_path):
    """The tab, and the queue of files that it looks at."""
    with gradio.Blocks():
        built = _FileTab(JobQueue(classifier, tmp_path / "jobs"), gradio.BrowserState(""))
        built.build()
        built.connect()
    return built


def started(ui, path, count, format="CSV"):
    """Start a file as the page does, its rows counted; the job and what is shown of it."""
    shown = ui.run(str(path), "message", (str(path), count), format)
    return ui.jobs.get(shown[ui.id]), shown


def test_the_download_keeps_the_chosen_format_and_the_filters_begin_anew(ui, make):
    job, _ = started(ui, make(300), 300, "JSON Lines")
    finished(job)
    shown = ui.look(job.id, "JSON Lines")
    assert shown[ui.download].value["path"].endswith(".jsonl") and shown[ui.download].label == "Download all rows"
    assert (shown[ui.label], shown[ui.sure], shown[ui.order]) == ("", 100, ORDERS[0])
    assert "Results of in.csv: 300 rows" in shown[ui.about]
    assert not shown[ui.pulse].active and not shown[ui.stop].interactive


def test_a_stopped_job_says_at_once_that_it_stops_and_then_how_much_is_done(ui, make):
    job, _ = started(ui, make(400 * STEP), 400 * STEP)
    while not job.progress:
        time.sleep(0.001)
    stopping = ui.halt(job.id)
    assert not stopping[ui.stop].interactive and "Stopping after this part" in stopping[ui.progress]
    finished(job)
    shown, rows = ui.look(job.id, "CSV"), job.progress.rows
    assert f"{rows:,} of {400 * STEP:,} rows" in shown[ui.progress] and f"{rows:,} of" in shown[ui.about]
    assert f'aria-valuenow="{round(rows / (4 * STEP))}"' in shown[ui.progress]
    assert shown[ui.download].label == f"Download the {rows:,} rows"


def test_what_is_typed_in_the_box_of_job_ids_stays_and_changes_nothing(ui, make):
    job, shown = started(ui, make(200 * STEP), 200 * STEP)
    assert shown[ui.id] == shown[ui.remembered] == job.id
    assert ui.id not in ui.look(job.id, "CSV")
    with pytest.raises(gradio.Error, match="There is no job 'half'"):
        ui.find("half", "CSV")
    with pytest.warns(UserWarning, match="There is no job 'forgotten'"):
        assert ui.filter("forgotten", "", 100, ORDERS[0]) == gradio.skip()
    assert ui.find(f" {job.id} ", "CSV")[ui.id] == job.id
    ui.halt(job.id)
    finished(job)


def test_hostile_cells_are_shown_as_text(classifier, tmp_path):
    (tmp_path / "in.csv").write_text("<b>id</b>,message\n1,<img src=x onerror=alert(1)> ${evil} help\n")
    with open_table(tmp_path / "in.csv") as table:
        shown = file_report.preview(table) + file_report.facts(table, 1)
    rows = file_summary.choose_rows(scored(classifier, tmp_path / "in.csv"), classifier.tasks)
    shown += file_report.rows_table(rows, classifier.tasks, classifier.policy)
    assert "<img" not in shown and "<b>id" not in shown and "${" not in shown


def test_two_tabs_may_ask_for_the_same_download_at_once(classifier, make, tmp_path):
    queue = JobQueue(classifier, tmp_path / "jobs")
    job = queue.submit(make(2000))
    finished(job)
    with ThreadPoolExecutor(4) as tabs:
        paths = list(tabs.map(lambda _: result_file(job, "csv"), range(4)))
    assert len(set(paths)) == 1
    assert len(Path(paths[0]).read_text(encoding="utf-8").splitlines()) == 2001
