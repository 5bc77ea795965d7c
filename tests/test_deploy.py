import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from conftest import make_model, make_tokenizer

from classifier.__main__ import main
from classifier.deploy import ROOT, apply, describe, existing_files, plan_app, plan_training
from classifier.errors import ClassifierError
from classifier.hub import push

SPACE, MODEL = "ann/desk", "ann/tiny"


@pytest.fixture
def model(hub, own_folder):
    """The tiny model on the loopback Hub; its commit."""
    return push(own_folder, MODEL).oid


def front_matter(readme: bytes) -> dict:
    return yaml.safe_load(readme.decode().split("---")[1])


def test_the_app_space_holds_what_the_app_imports_and_no_more(hub, model):
    files = set(plan_app(SPACE, MODEL).files)
    assert {"app.py", "requirements.txt", "README.md", "classifier/predict.py", "classifier/hub.py"} <= files
    assert "classifier/policies/support.json" in files
    for training in ("model", "train", "export", "data", "deploy", "__main__"):
        assert f"classifier/{training}.py" not in files
    assert not [path for path in files if path.startswith(("tests/", "docs", ".", "classifier/templates"))]


def test_the_training_space_holds_all_that_training_runs(hub):
    files = set(plan_training(SPACE).files)
    assert {"train_space.py", "app.py", "examples/data/support.jsonl", "classifier/templates/usage.md"} <= files
    for module in ("train", "loop", "export", "trainer", "datacheck", "hub_job", "deploy", "__main__"):
        assert f"classifier/{module}.py" in files
    assert not [path for path in files if path.startswith(("tests/", "docs", "."))]


def test_the_space_serves_the_model_at_the_commit_of_today(hub, model):
    plan = plan_app(SPACE, MODEL)
    assert plan.variables == {"MODEL_ID": MODEL, "MODEL_REVISION": model}
    matter = front_matter(plan.files["README.md"])
    assert matter["models"] == [MODEL]
    name, files, commit = matter["preload_from_hub"][0].split()
    assert (name, commit) == (MODEL, model)
    assert "onnx/model_int8.onnx" in files.split(",") and "model.safetensors" not in files


def test_without_a_model_the_space_serves_the_embedded_one(hub, model, capsys):
    plan = plan_app(SPACE)
    assert plan.variables == {} and "classifier/default_model/onnx/model_int8.onnx" in plan.files
    assert not {"models", "preload_from_hub"} & front_matter(plan.files["README.md"]).keys()
    apply(plan_app(SPACE, MODEL))
    assert set(hub.repos["space", SPACE].settings["variables"]) == {"MODEL_ID", "MODEL_REVISION"}
    apply(plan)
    assert not hub.repos["space", SPACE].settings["variables"]
    assert main(["deploy", SPACE]) == 0 and "app.py" in capsys.readouterr().out
    assert main(["deploy", SPACE, "--revision", "main"]) == 2 and "give --model" in capsys.readouterr().err


def test_a_private_model_is_not_preloaded(hub, own_folder):
    push(own_folder, MODEL, private=True)
    assert "preload_from_hub" not in front_matter(plan_app(SPACE, MODEL).files["README.md"])


@pytest.mark.parametrize("training", [False, True])
def test_the_front_matter_is_what_the_platform_takes(hub, model, training):
    plan = plan_training(SPACE) if training else plan_app(SPACE, MODEL)
    matter = front_matter(plan.files["README.md"])
    assert matter["sdk"] == "gradio" and matter["app_file"] in plan.files
    assert isinstance(matter["python_version"], str) and isinstance(matter["sdk_version"], str)
    assert len(matter["short_description"]) <= 60
    assert not matter["emoji"].isascii()
    assert {matter["colorFrom"], matter["colorTo"]} <= {"red", "yellow", "green", "blue", "purple", "pink", "gray"}
    if training:
        assert matter["hf_oauth"] is True and matter["hf_oauth_scopes"] == ["contribute-repos"]


def test_the_serving_space_needs_no_torch(hub, model):
    requirements = plan_app(SPACE, MODEL).files["requirements.txt"].decode()
    names = {line.split(">")[0].strip() for line in requirements.splitlines() if line and not line.startswith("#")}
    assert {"onnxruntime", "tokenizers"} <= names and not {"torch", "transformers"} & names


def test_planning_sends_nothing(hub, model):
    hub.requests.clear()
    text = describe(plan_app(SPACE, MODEL, variables={"A": "1"}, secrets=["HF_TOKEN"], hardware="cpu-basic"))
    assert not [request for request in hub.requests if request.startswith(("POST", "PUT"))]
    for part in ("app.py", "variable A=1", "secret HF_TOKEN", "hardware cpu-basic", "sdk: gradio"):
        assert part in text
    assert "hf_write" not in text


def test_applying_makes_the_space(hub, model, monkeypatch):
    monkeypatch.setenv("DESK_KEY", "s3cret")
    plan = plan_app(SPACE, MODEL, secrets=["DESK_KEY"], hardware="zero-a10g", private=True)
    commit = apply(plan)
    space = hub.repos["space", SPACE]
    assert commit.repo_url == f"{hub.url}/spaces/{SPACE}"
    assert hub.files(SPACE, kind="space") == dict(plan.files)
    assert space.private and space.settings["hardware"] == "zero-a10g"
    assert space.settings["variables"] == plan.variables
    assert space.settings["secrets"] == {"DESK_KEY": "s3cret"}


def test_applying_again_removes_what_is_no_longer_needed(hub, model):
    apply(plan_app(SPACE, MODEL))
    space = hub.repos["space", SPACE]
    space.commit("main", {**space.commits[space.branches["main"]], "old.py": b""}, "by hand")
    assert "old.py" in existing_files(SPACE)
    apply(plan_app(SPACE, MODEL))
    assert "old.py" not in hub.files(SPACE, kind="space")


def test_a_secret_that_is_not_set_stops_before_anything_is_sent(hub, model, monkeypatch):
    monkeypatch.delenv("DESK_KEY", raising=False)
    with pytest.raises(ClassifierError, match="DESK_KEY is not set"):
        apply(plan_app(SPACE, MODEL, secrets=["DESK_KEY"]))
    assert ("space", SPACE) not in hub.repos


def test_a_space_that_is_not_there_has_no_files(hub):
    assert existing_files("ann/nothing") == frozenset()


def test_an_unknown_model_is_one_sentence(hub):
    with pytest.raises(ClassifierError, match="find ann/nothing: there is no such repository"):
        plan_app(SPACE, "ann/nothing")


def test_the_command_only_shows_unless_told_otherwise(hub, model, tmp_path):
    def deploy(*words):
        command = [sys.executable, "-m", "classifier", "deploy", SPACE, *words]
        environment = hub.environment(tmp_path / "home")
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)

    shown = deploy("--model", MODEL)
    assert "app.py" in shown.stdout and "--yes" in shown.stderr
    assert ("space", SPACE) not in hub.repos
    done = deploy("--model", MODEL, "--yes")
    assert done.stdout.strip() == f"{hub.url}/spaces/{SPACE}", done.stderr
    assert deploy("--training", "--model", MODEL).returncode == 2


#: Refuses what a serving Space does not have, as a fresh machine would.
WITHOUT_TRAINING_PACKAGES = """
import runpy, sys
for name in ("torch", "transformers", "datasets", "accelerate", "sklearn", "onnx", "safetensors", "matplotlib"):
    sys.modules[name] = None
sys.argv = ["app.py", "--port", sys.argv[1]]
sys.path.insert(0, "")
runpy.run_path("app.py", run_name="__main__")
"""


def answers(port: int, process: subprocess.Popen, seconds: float = 60) -> str:
    """The front page, as soon as the server answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                return response.read().decode()
        except OSError:
            time.sleep(0.2)
    process.kill()
    raise AssertionError(process.communicate()[0])


def write(files: Mapping[str, bytes], folder: Path) -> Path:
    """The files as they lie on the platform's machine."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def test_the_uploaded_app_starts_from_its_own_files(hub, model, tmp_path, free_port):
    apply(plan_app(SPACE, MODEL))
    folder = write(hub.files(SPACE, kind="space"), tmp_path / "space")
    environment = {**hub.environment(tmp_path / "home"), **hub.repos["space", SPACE].settings["variables"]}
    environment.pop("PYTHONPATH", None)
    process = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_TRAINING_PACKAGES, str(free_port)],
        cwd=folder,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        page = answers(free_port, process)
        assert MODEL in page and model[:7] in page
    finally:
        process.kill()
        process.communicate()


#: Stands where ZeroGPU's package would, and notes what it is told to run on a GPU.
ZERO_GPU = """
import os
from pathlib import Path

def GPU(function):
    Path(os.environ["FOUND"]).write_text(function.__name__)
    return function
"""


@pytest.mark.parametrize("training", [False, True], ids=["app", "training"])
def test_zero_gpu_finds_a_function_at_the_start(hub, model, tmp_path, free_port, training):
    plan = plan_training(SPACE) if training else plan_app(SPACE, MODEL)
    folder = write({**plan.files, "spaces/__init__.py": ZERO_GPU.encode()}, tmp_path / "space")
    found = tmp_path / "found"
    process = subprocess.Popen(
        [sys.executable, front_matter(plan.files["README.md"])["app_file"], "--port", str(free_port)],
        cwd=folder,
        env={**hub.environment(tmp_path / "home"), **plan.variables, "SPACES_ZERO_GPU": "true", "FOUND": str(found)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        answers(free_port, process, 180)
        assert found.read_text()
    finally:
        process.kill()
        process.communicate()


def fresh_python(folder: Path, requirements: Path, gradio: str) -> Path:
    """An interpreter with what a Space's machine has: its requirements and what the platform adds to them.

    torch is held at the version of this environment, so that nothing with gigabytes of CUDA is fetched.
    """
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    constraints = folder / "constraints.txt"
    constraints.write_text(f"torch=={version('torch').split('+')[0]}")
    packages = [f"gradio[oauth,mcp]=={gradio}", "uvicorn", "spaces"]
    command = [python, "-m", "pip", "install", "-q", "-c", constraints, "-r", requirements, *packages]
    subprocess.run(command, check=True)
    return python


@pytest.mark.nightly
def test_the_uploaded_app_starts_in_a_fresh_environment(hub, model, tmp_path, free_port):
    """Needs the package index."""
    apply(plan_app(SPACE, MODEL))
    files = hub.files(SPACE, kind="space")
    folder = write(files, tmp_path / "space")
    python = fresh_python(
        tmp_path / "venv", folder / "requirements.txt", front_matter(files["README.md"])["sdk_version"]
    )
    process = subprocess.Popen(
        [str(python), "app.py", "--port", str(free_port)],
        cwd=folder,
        env={**hub.environment(tmp_path / "home"), **hub.repos["space", SPACE].settings["variables"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert MODEL in answers(free_port, process, 180)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.nightly
def test_the_uploaded_training_space_starts_and_trains_in_a_fresh_environment(hub, tmp_path, free_port):
    """Its page asks visitors to sign in, and the same files train a model. Needs the package index."""
    apply(plan_training(SPACE))
    files = hub.files(SPACE, kind="space")
    folder = write(files, tmp_path / "space")
    python = fresh_python(
        tmp_path / "venv", folder / "requirements.txt", front_matter(files["README.md"])["sdk_version"]
    )
    environment = {**hub.environment(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    platform = {"SYSTEM": "spaces", "SPACE_ID": SPACE, "OPENID_PROVIDER_URL": hub.url}
    platform |= {f"OAUTH_{name}": "x" for name in ("CLIENT_ID", "CLIENT_SECRET", "SCOPES")}
    process = subprocess.Popen(
        [str(python), "train_space.py", "--port", str(free_port)],
        cwd=folder,
        env={**environment, **platform},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert "Sign in with Hugging Face" in answers(free_port, process, 180)
    finally:
        process.kill()
        process.communicate()
    encoder = tmp_path / "encoder"
    make_model().distilbert.save_pretrained(encoder)
    make_tokenizer().save(str(encoder / "tokenizer.json"))
    settings = [f"base={encoder}", "max_steps=2", "max_tokens=32", "data=[{path: examples/data/support_danger.jsonl}]"]
    command = [str(python), "train_space.py", "--headless", "--config", ROOT / "examples/train.yaml"]
    command += [word for setting in settings for word in ("--set", setting)]
    subprocess.run([*command, "--push", "ann/trained"], cwd=folder, env=environment, check=True)
    assert "onnx/model_int8.onnx" in hub.files("ann/trained")


def test_an_app_started_from_the_command_line_needs_a_checkout(hub, model, monkeypatch, tmp_path):
    monkeypatch.setattr("classifier.deploy.ROOT", Path(tmp_path))
    with pytest.raises(ClassifierError, match=r"no app\.py"):
        plan_app(SPACE, MODEL)
