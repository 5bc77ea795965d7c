import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from classifier.__main__ import main
from classifier.errors import ClassifierError
from classifier.rows import open_table
from classifier.score import plan, stream_lines

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
    with pytest.raises(ClassifierError, match="overwrite itself"):
        plan(["a.csv"], "a.csv")
    with pytest.raises(ClassifierError, match="No file matches"):
        plan([f"{tmp_path}/*.csv"], "out/")


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
    ],
)
def test_wrong_use_is_one_line_and_status_2(run, export, arguments, sentence):
    status, out, err = run(*(word.format(export=export) for word in arguments))
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and sentence in err and err.count("\n") == 1


def test_json_summary_of_each_file(run, export, tmp_path):
    _, _, err = run(export, "-o", tmp_path / "out.csv", "--json")
    assert {"rows": 3, "errors": 1}.items() <= json.loads(err).items()


def test_stream_answers_in_order_and_keeps_keys(classifier):
    lines = ["please refund\n", "\n", '{"id": 7, "body": "help me"}\n', '{"id": 8}\n', "{not json\n"]
    out = io.StringIO()
    stream_lines(classifier, iter(lines), out, "body")
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [row.get("id", row.get("text")) for row in found] == ["please refund", 7, 8, "{not json"]
    assert found[1]["route"]["action"]
    assert "expected a string" in found[2]["error"]


def test_stream_answers_each_line_before_the_next_comes(tiny_folder):
    command = [sys.executable, "-m", "classifier", "score", "--stream", "-", "--model", str(tiny_folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for text in ("please refund my card", "what are your hours"):
            process.stdin.write(text + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["text"] == text
        process.stdin.close()
        assert process.wait() == 0


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
