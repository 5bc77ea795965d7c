import threading
import time

import pytest
from waiting import finished, watch

from classifier.errors import ClassifierError
from classifier.jobs import DONE, FAILED, FINAL, RUNNING, STOPPED, JobQueue, Limits
from classifier.scored_file import STEP


@pytest.fixture
def queue(classifier, tmp_path):
    return JobQueue(classifier, tmp_path / "jobs")


@pytest.fixture
def make(tmp_path):
    def csv(count, name="in.csv"):
        path = tmp_path / name
        path.write_text("id,message\n" + "".join(f"{n},please refund my order {n}\n" for n in range(count)))
        return path

    return csv


def test_a_job_is_found_by_its_id_and_keeps_its_rows(queue, make):
    job = queue.submit(make(600))
    assert finished(queue.get(job.id)).state == DONE
    assert [int(row[0]) for row in job.scored.rows()] == list(range(600))
    assert job.progress.rows == 600
    assert [path.name for path in job.folder.iterdir()] == ["rows.scored"]


def test_a_file_of_any_name_keeps_its_results(queue, make):
    job = queue.submit(make(3, "rows.scored.csv"))
    other = queue.submit(make(3, "rows.scored"))
    assert finished(job).state == finished(other).state == DONE
    assert len(list(other.scored.rows())) == 3


def test_watching_shows_progress_between_start_and_end(queue, make):
    seen = [(job.state, job.progress and job.progress.rows) for job in watch(queue.submit(make(STEP * 8)), 0.001)]
    assert seen[-1] == (DONE, STEP * 8)
    assert any(state == RUNNING and rows and rows < STEP * 8 for state, rows in seen)


def test_ten_jobs_at_once_all_finish_and_the_short_ones_first(queue, make):
    long = queue.submit(make(40 * STEP, "long.csv"))
    jobs: list = []
    paths = [make(100, f"short{number}.csv") for number in range(9)]
    threads = [threading.Thread(target=lambda path=path: jobs.append(queue.submit(path))) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for job in [*jobs, long]:
        assert finished(job).state == DONE
    assert len({job.id for job in jobs}) == 9
    assert max(job.ended for job in jobs) < long.ended
    for job in jobs:
        assert [int(row[0]) for row in job.scored.rows()] == list(range(100))


def test_a_stopped_job_stops_and_keeps_what_is_done(queue, make, classifier):
    job = queue.submit(make(400 * STEP))
    while not job.progress:
        time.sleep(0.001)
    queue.stop(job.id)
    assert finished(job).state == STOPPED
    rows = len(list(job.scored.rows()))
    assert 0 < rows < 400 * STEP
    time.sleep(0.2)
    assert len(list(job.scored.rows())) == rows
    assert classifier._pool._work_queue.qsize() == 0


def test_single_messages_are_answered_while_files_run(queue, make, classifier):
    job = queue.submit(make(200 * STEP))
    while not job.progress:
        time.sleep(0.001)
    for _ in range(20):
        classifier.classify("please help me")
    assert job.state == RUNNING
    queue.stop(job.id)
    finished(job)


def test_a_file_that_breaks_in_the_middle_fails_with_its_reason_and_keeps_its_rows(queue, make):
    path = make(3000)
    with path.open("a") as file:
        file.write("3001," + "x" * (2 << 20))
    job = finished(queue.submit(path))
    assert job.state == FAILED
    assert "line of over" in job.error
    assert queue.submit(make(5)).state not in (FAILED,)


def test_an_unreadable_file_is_refused_at_once_and_leaves_nothing(queue, tmp_path):
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04 no workbook")
    with pytest.raises(ClassifierError, match="no Excel workbook"):
        queue.submit(tmp_path / "a.xlsx")
    assert list(queue.folder.iterdir()) == []


def test_limits(classifier, tmp_path, make):
    queue = JobQueue(classifier, tmp_path / "jobs", Limits(max_rows=1500, max_jobs=1, keep_seconds=0))
    first = finished(queue.submit(make(2000)))
    assert (first.state, "over 1,500 rows" in first.error) == (FAILED, True)
    second = queue.submit(make(1400))
    if second.state not in FINAL:
        with pytest.raises(ClassifierError, match="waiting already"):
            queue.submit(make(10, "other.csv"))
    finished(second)


def test_old_results_go_though_nobody_sends_another_file(classifier, tmp_path, make, monkeypatch):
    monkeypatch.setattr("classifier.jobs.SWEEP_SECONDS", 0.05)
    queue = JobQueue(classifier, tmp_path / "jobs")
    job = finished(queue.submit(make(10)))
    assert queue.get(job.id) is job and job.folder.exists()
    queue.limits = Limits(keep_seconds=0)
    deadline = time.monotonic() + 30
    while job.folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not job.folder.exists()
    with pytest.raises(ClassifierError, match="There is no job"):
        queue.get(job.id)


def test_place_counts_the_unfinished_jobs_before(queue, make):
    jobs = [queue.submit(make(100 * STEP, f"{number}.csv")) for number in range(3)]
    assert [queue.place(job) for job in jobs] == [0, 1, 2]
    for job in jobs:
        queue.stop(job.id)
        finished(job)
    assert queue.place(jobs[2]) == 0
