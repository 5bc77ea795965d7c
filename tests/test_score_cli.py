import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from classifier.__main__ import main
from classifier.errors import ClassifierError
from classifier.rows import open_table
from classifier.score import checkpoint_path, plan

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run(tiny_folder, capsys):
    def call(*arguments):
        status = main(["score", *map(str, arguments), "--model", str(tiny_folder)])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def export(tmp_path):
    path = tmp_path / "export.csv"
    path.write_text("id;message\n1;please refund my card\n2;\n3;=help me now\n")
    return path


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "xlsx", "parquet", "csv.gz"])
def test_every_output_format(run, export, tmp_path, ending):
    target = tmp_path / f"out.{ending}"
    assert run(export, "-o", target)[0] == 0
    with open_table(target, text_column="message") as table:
        rows = [dict(zip(table.columns, row.cells, strict=True)) for row in table]
    assert [int(row["id"]) for row in rows] == [1, 2, 3]
    assert rows[0]["intent"] and not rows[1]["intent"]
    assert "empty" in rows[1]["error"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export.csv", f"out.{ending}"]


def test_pipes_in_and_out_keep_stdout_clean(tiny_folder, export):
    ran = subprocess.run(
        [sys.executable, "-m", "classifier", "score", "-", "--model", str(tiny_folder)],
        input=export.read_bytes(),
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [row["id"] for row in rows] == ["1", "2", "3"]


def test_globs_fill_a_folder(run, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("message\nplease help me\n")
    assert run(f"{tmp_path}/*.csv", "-o", f"{tmp_path}/out/", "--format", "parquet")[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.parquet", "b.parquet"]


def test_several_files_cannot_go_to_one(tmp_path):
    with pytest.raises(ClassifierError, match="give a folder"):
        plan(["a.csv", "b.csv"], str(tmp_path / "out.csv"))
    with pytest.raises(ClassifierError, match="Several inputs would go to"):
        plan(["x/a.csv", "y/a.csv"], f"{tmp_path}/")
    with pytest.raises(ClassifierError, match="would be overwritten"):
        plan(["a.csv"], "a.csv")
    with pytest.raises(ClassifierError, match="No file matches"):
        plan([f"{tmp_path}/*.csv"], "out/")


def test_no_input_is_overwritten_under_another_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.csv"):
        Path(name).write_text("message\nhelp\n")
    Path("link.csv").symlink_to("b.csv")
    Path("x").mkdir()
    for inputs, output in (
        (["a.csv"], "./a.csv"),
        (["a.csv", "b.csv"], "."),
        (["*.csv"], f"{tmp_path}/"),
        (["b.csv"], "link.csv"),
        (["x/../a.csv"], "a.csv"),
    ):
        with pytest.raises(ClassifierError, match="would be overwritten; name another output"):
            plan(inputs, output)
    assert plan(["a.csv", "b.csv"], "out/") == [("a.csv", "out/a.csv"), ("b.csv", "out/b.csv")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing.csv"], "cannot be opened"),
        (["{export}", "--desk", "reviews"], "not 'reviews'"),
        (["{export}", "--text-column", "body"], "no column 'body'"),
        (["{export}", "-o", "out.docx"], "cannot be written as 'docx'"),
        (["{export}", "--threads", "0"], "expected 1 or more"),
        (["{export}", "--stream"], "give - as the only input"),
        (["{export}", "-o", "/dev/null/x/out.csv"], "cannot be written"),
        (["{export}", "-o", "out.xlsx.gz"], "leave .gz out"),
        (["{export}", "--resume"], "name it with -o"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(run, export, arguments, sentence):
    status, out, err = run(*(word.format(export=export) for word in arguments))
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and sentence in err and err.count("\n") == 1


def test_json_summary_of_each_file(run, export, tmp_path):
    _, _, err = run(export, "-o", tmp_path / "out.csv", "--json")
    assert {"rows": 3, "errors": 1, "text_column": "message"}.items() <= json.loads(err).items()


def test_how_a_file_was_read_is_named(run, export, tmp_path):
    _, _, err = run(export, "-o", tmp_path / "a.csv")
    assert err.startswith("export.csv: csv, utf-8, delimiter ';'; the messages are in the column 'message'.\n")
    assert run(export, "-o", tmp_path / "b.csv", "--quiet")[2] == ""


def test_a_bad_file_among_many_stops_no_other_and_resume_leaves_out_what_is_done(run, tmp_path):
    for name, content in (("a", "message\nplease help\n"), ("b", ""), ("c", "message\nrefund me\n")):
        (tmp_path / f"{name}.csv").write_text(content)
    words = (f"{tmp_path}/*.csv", "-o", f"{tmp_path}/out/")
    status, _, err = run(*words)
    assert status == 2 and "b.csv: " in err and "1 of 3 files could not be scored" in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.csv", "c.csv"]
    made = (tmp_path / "out/a.csv").stat().st_mtime_ns
    os.utime(tmp_path / "c.csv", (time.time() + 10,) * 2)  # a newer export
    (tmp_path / "b.csv").write_text("message\nhere it is\n")
    status, _, err = run(*words, "--resume")
    assert status == 0 and "a.csv: finished before" in err and "c.csv: finished" not in err
    assert (tmp_path / "out/a.csv").stat().st_mtime_ns == made and (tmp_path / "out/b.csv").is_file()


def test_two_runs_cannot_write_one_output(run, export, tmp_path):
    target = tmp_path / "out.csv"
    with FileLock(f"{checkpoint_path(str(target))}.lock"):
        status, _, err = run(export, "-o", target)
    assert status == 2 and "Another run writes" in err
    assert run(export, "-o", target)[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export.csv", "out.csv"]


def test_runs_into_pipes_do_not_meet(tiny_folder, tmp_path):
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "classifier", "score", "-", "--model", str(tiny_folder)]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    pipes = {"cwd": ROOT, "env": environment, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    runs = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for number, process in enumerate(runs):
        process.stdin.write(b"id,message\n" + f"{number},please help me\n".encode() * 600)
        process.stdin.flush()
    for number, process in enumerate(runs):
        out, _ = process.communicate()
        assert process.returncode == 0
        assert [json.loads(line)["id"] for line in out.splitlines()] == [str(number)] * 600
    assert not list((tmp_path / "tmp").glob("**/*.scored"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence(tiny_folder, export, tmp_path):
    command = [sys.executable, "-m", "classifier", "score", str(export), "--model", str(tiny_folder), "--quiet"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "No space left" in done.stderr and "Traceback" not in done.stderr
    (tmp_path / "out.csv.scored").symlink_to("/dev/full")
    done = subprocess.run([*command, "-o", str(tmp_path / "out.csv")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "cannot be written" in done.stderr and "Traceback" not in done.stderr


def test_s3_in_and_out(run, monkeypatch):
    moto_server = pytest.importorskip("moto.server", reason="requirements-dev.txt is not installed")
    s3fs = pytest.importorskip("s3fs", reason="requirements-dev.txt is not installed")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        bucket = s3fs.S3FileSystem()
        bucket.mkdir("exports")
        bucket.pipe("exports/may.csv", b"id,message\n1,please refund my card\n2,help me\n")
        bucket.pipe("exports/june.csv", b"id,message\n3,what are your hours\n")
        assert run("s3://exports/may.csv", "-o", "s3://exports/scored/may.parquet")[0] == 0
        assert run("s3://exports/*.csv", "-o", "s3://exports/all/")[0] == 0
        bucket.invalidate_cache()
        assert sorted(bucket.ls("exports/all")) == ["exports/all/june.csv", "exports/all/may.csv"]
        with open_table("s3://exports/scored/may.parquet") as table:
            assert [row.cells[0] for row in table] == ["1", "2"]
    finally:
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()


def test_the_hub_in_and_out(run, hub):
    from huggingface_hub import HfApi, HfFileSystem

    HfFileSystem.clear_instance_cache()
    api = HfApi(endpoint=hub.url)
    user = api.whoami()["name"]
    api.create_repo(f"{user}/exports", repo_type="dataset")
    api.upload_file(
        path_or_fileobj=b"id,message\n1,please refund my card\n2,help me\n",
        path_in_repo="may.csv",
        repo_id=f"{user}/exports",
        repo_type="dataset",
    )
    try:
        url = f"hf://datasets/{user}/exports"
        status, _, err = run(f"{url}/may.csv", "-o", f"{url}/scored.jsonl")
        assert status == 0, err
        repo = hub.repos["dataset", f"{user}/exports"]
        rows = [json.loads(line) for line in repo.commits[repo.branches["main"]]["scored.jsonl"].splitlines()]
        assert [row["id"] for row in rows] == ["1", "2"] and rows[0]["route_action"]
    finally:
        HfFileSystem.clear_instance_cache()
