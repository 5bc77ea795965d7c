"""The ray engine on a real cluster of this machine, in processes of its own: one that hangs ends by its time limit."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from classifier.__main__ import main
from classifier.errors import ClassifierError
from classifier.ray_engine import RayEngine, _read
from classifier.rows import Row, open_table

ROOT = Path(__file__).parents[1]
HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="requirements-ray.txt is not installed")

#: Seconds until a node of the cluster must be up, and until a table must be scored. On an idle machine it takes a few.
STARTED, SCORED = 60, 240

#: Nobody is told of the cluster, it needs no password, and its workers are not put behind all other work of a busy
#: machine, as Ray does by default, so that they come up in time.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}


@pytest.fixture
def alone(monkeypatch):
    """No cluster but the test's own is found."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def cluster(alone, tmp_path):
    """The address of a running cluster of two nodes with a core each."""
    nodes, folder = [], tempfile.mkdtemp(prefix="ray")  # the paths of its sockets must be short

    def start(number, *options):
        log = tmp_path / f"node{number}.log"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", *options]
        command += ["--object-store-memory=100000000", "--include-log-monitor=false"]
        with log.open("w") as out:
            nodes.append(subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True))
        limit = time.monotonic() + STARTED
        while "Ray runtime started" not in log.read_text():
            if time.monotonic() > limit or "timed out during startup" in log.read_text():
                pytest.skip("this machine is too busy for Ray, whose processes must come up within seconds")
            assert nodes[-1].poll() is None, log.read_text()[-2000:]
            time.sleep(0.2)
        return log.read_text()

    try:
        told = start(0, "--head", "--port=0", "--include-dashboard=false", f"--temp-dir={folder}")
        address = re.search(r"--address='([^']+)'", told)[1]
        start(1, f"--address={address}")
        yield address
    finally:
        for node in reversed(nodes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)  # what it started is in its process group
            node.wait()
        shutil.rmtree(folder, ignore_errors=True)


def score(*arguments):
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "classifier", "score", *map(str, arguments), "--quiet"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SCORED)


@pytest.fixture
def source(tmp_path):
    """More than four windows of rows with all that may be wrong with one."""
    path = tmp_path / "in.csv"
    with path.open("w", encoding="utf-8") as lines:
        lines.write("id;message;amount\n")
        for number in range(9000):
            text = "" if number % 97 == 0 else f'"please refund order {number}; ’twas charged twice\né"'
            lines.write(f"{number};{text};=1+{number}\n" if number % 89 else f"{number};{text};1;too many\n")
    return path


@needs_ray
def test_a_running_cluster_of_two_nodes_gives_the_rows_of_the_local_engine(cluster, tiny_folder, source, tmp_path):
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    assert score(source, "-o", here, "--model", tiny_folder).returncode == 0
    ran = score(source, "-o", there, "--model", tiny_folder, "--engine", "ray", "--address", cluster)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert there.read_bytes() == here.read_bytes()


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:{}", "127.0.0.1:head"])
def test_no_cluster_at_an_address_is_one_sentence(alone, free_port, address):
    with pytest.raises(ClassifierError, match="No Ray cluster answers at"):
        RayEngine("in.csv", address=address.format(free_port))


def test_reading_goes_on_behind_the_rows_that_are_done(source):
    reading = {"source": str(source), "text_column": "message", "delimiter": None, "encoding": None}
    rows = [Row(*json.loads(row)) for batch in _read({"reading": [reading], "done": [100]}) for row in batch["row"]]
    with open_table(source) as table:
        assert rows == list(table)[100:]


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClassifierError, match=r"pip install -r requirements-ray\.txt"):
        RayEngine("in.csv")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["in.csv", "--address", "auto"], "add --engine ray"),
        (["-", "--engine", "ray"], "cannot read a pipe"),
        (["-", "--engine", "ray", "--stream"], "cannot read a pipe"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(tiny_folder, capsys, arguments, sentence):
    assert main(["score", *arguments, "--model", str(tiny_folder)]) == 2
    assert sentence in capsys.readouterr().err
