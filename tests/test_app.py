"""The endpoints of a running page, and how it starts."""

import asyncio
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import make_model, make_tokenizer
from gradio_client import Client
from gradio_client.exceptions import AppError

import app
from classifier import Classifier, ClassifierError, Label, Policy, Task, TaskSet, page
from classifier.desks import SUPPORT
from classifier.export import write_model_folder
from classifier.service import Service

ROOT = Path(app.__file__).parent
ENDPOINTS = {"/classify", "/explain", "/classify_file", "/model_info"}


@pytest.fixture(scope="module")
def client(page_url) -> Client:
    return Client(page_url, verbose=False)


def python(*code: str, **environment: str) -> subprocess.CompletedProcess:
    """A fresh interpreter in the repository."""
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, *code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)


def test_only_the_named_endpoints_are_public(classifier):
    info = app.build_demo(classifier).get_api_info()
    assert set(info["named_endpoints"]) == ENDPOINTS
    assert info["unnamed_endpoints"] == {}


def test_endpoints_describe_themselves(client):
    info = client.view_api(return_format="dict")["named_endpoints"]
    (parameter,) = info["/classify"]["parameters"]
    assert (parameter["parameter_name"], parameter["python_type"]["type"]) == ("message", "str")
    assert "customer message" in info["/classify"]["description"]


def test_the_endpoint_answers_as_python_does(client, classifier):
    answer = client.predict("please refund my order", api_name="/classify")
    expected = classifier.classify("please refund my order").to_dict()
    assert answer.pop("latency_ms").keys() == expected.pop("latency_ms").keys()
    assert answer == expected


def test_model_info_is_the_classifiers(client, classifier):
    assert client.predict(api_name="/model_info") == classifier.info


def test_ten_people_at_once_are_answered(page_url, classifier):
    messages = [f"please refund card {number}" for number in range(10)]

    def ask(message: str) -> str:
        return Client(page_url, verbose=False).predict(message, api_name="/classify")["probabilities"]

    with ThreadPoolExecutor(len(messages)) as pool:
        answers = list(pool.map(ask, messages))
    assert answers == [classifier.classify(message).to_dict()["probabilities"] for message in messages]


@pytest.mark.parametrize(
    "message",
    [
        "<script>alert(1)</script><img src=x onerror=alert(1)>",
        "refund " * 150_000,
        "a" * 1_000_000,
        "refund\x00 my\x07 card\x1b[31m",
        "😀😀😀",
        "\u202eللبطاقة refund",
        "${alert(1)} {{constructor.constructor('alert(1)')()}}",
    ],
    ids=["markup", "1 MB", "1 MB word", "controls", "emoji", "right to left", "templates"],
)
def test_hostile_messages_are_answered(client, classifier, message):
    answer, expected = client.predict(message, api_name="/classify"), classifier.classify(message).to_dict()
    assert answer["probabilities"] == expected["probabilities"]
    assert answer["truncated"] == expected["truncated"]


def test_a_lone_surrogate_is_answered(page_url):
    # JSON can carry one half of a surrogate pair, though clients that encode UTF-8 cannot send it.
    body = json.dumps({"data": ["refund \ud800 card"]})
    address, headers = f"{page_url}gradio_api/call/classify", {"Content-Type": "application/json"}
    event = httpx.post(address, content=body, headers=headers).json()["event_id"]
    assert "probabilities" in httpx.get(f"{address}/{event}", timeout=30).text


@pytest.mark.parametrize("message", ["", "  \n\t ", "\x00\x00", "\u200b"])
def test_a_message_without_words_is_refused_kindly(client, message):
    with pytest.raises(AppError, match="holds nothing to read; write a few words"):
        client.predict(message, api_name="/classify")


@pytest.mark.parametrize("message", [None, 7, ["a", "b"], {"a": 1}])
def test_what_is_no_string_is_refused(client, message):
    with pytest.raises(AppError, match="expected a string"):
        client.predict(message, api_name="/classify")


class Broken:
    """A classifier whose model fails."""

    def __init__(self, classifier):
        self._classifier = classifier

    def __getattr__(self, name):
        return getattr(self._classifier, name)

    def classify(self, text):
        raise RuntimeError("secret path /home/someone")


def test_our_failures_show_an_apology_without_internals(classifier, caplog):
    banner, cards, data = Service(Broken(classifier)).show("refund")
    assert page.APOLOGY in banner and "secret" not in banner + cards and data is None
    assert "secret path" in caplog.text


def test_the_endpoint_apologises_without_internals(classifier):
    demo = app.build_demo(Broken(classifier))
    _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True)
    try:
        with pytest.raises(AppError, match=page.APOLOGY):
            Client(url, verbose=False).predict("refund", api_name="/classify")
    finally:
        demo.close()


def test_nothing_to_read_is_a_hint_on_the_page(classifier):
    for message in ("", " \n ", "\x00"):
        banner, cards, data = Service(classifier).show(message)
        assert "Nothing to analyze yet" in banner and "waiting" in cards and data is None


def test_another_desk_needs_no_change(tmp_path):
    tasks = TaskSet("parcels", "Parcels", (Task("damage", "Is it broken?", (Label("whole"), Label("broken"))),))
    folder = write_model_folder(
        tmp_path / "parcels", make_model(tasks), tasks, make_tokenizer(), max_tokens=32, samples=["help", "card"]
    )
    service = Service(Classifier.load(folder))
    assert set(app.build_demo(service.classifier).get_api_info()["named_endpoints"]) == ENDPOINTS
    banner, cards, data = service.show("my card")
    assert data["damage"] in ("whole", "broken")
    assert "Damage" in cards and ("Accept" in banner or "Review" in banner)


def test_mcp_tools_are_exactly_the_endpoints(page_url):
    pytest.importorskip("mcp", reason="the mcp extra is not installed")
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async def use() -> tuple[set[str], str]:
        async with (
            streamablehttp_client(f"{page_url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            name = next(tool.name for tool in tools if tool.name.endswith("classify"))
            answer = await session.call_tool(name, {"message": "please refund my order"})
            return {f"/{tool.name}" for tool in tools}, answer.content[0].text

    names, answer = asyncio.run(use())
    assert names == ENDPOINTS
    assert "probabilities" in answer


def test_a_model_named_on_the_command_line_must_load(tmp_path, capsys):
    assert app.main(["--model", str(tmp_path / "none")]) == 2
    assert "There is no model folder" in capsys.readouterr().err


def test_a_policy_named_on_the_command_line_must_fit(tmp_path, tiny_folder, capsys):
    file = tmp_path / "policy.json"
    other = Policy.for_tasks(SUPPORT).changed(automatic_needs={"mood": 0.5}).to_dict()
    for content, says in (("{", "cannot be read as JSON"), (json.dumps(other), "'mood' is not a task")):
        file.write_text(content)
        assert app.main(["--model", str(tiny_folder), "--policy", str(file)]) == 2
        assert says in capsys.readouterr().err


def test_another_model_never_answers_silently(tmp_path, classifier, monkeypatch):
    missing = str(tmp_path / "none")
    load = app.Classifier.load
    monkeypatch.setattr(app.Classifier, "load", lambda model=None, **how: classifier if model is None else load(model))
    answering, notice = app.load_classifier(missing, None, required=False)
    assert answering is classifier
    assert missing in notice and "the embedded model answers" in notice
    with pytest.raises(ClassifierError):
        app.load_classifier(missing, None, required=True)


def test_the_command_line_does_not_import_the_page():
    code = "import sys, classifier.__main__; print('gradio' in sys.modules)"
    assert python("-c", code).stdout.strip() == "False"


@pytest.mark.parametrize("zero_gpu", ["", "true"])
def test_the_page_imports_no_torch_and_shows_zero_gpu_the_function_it_needs(tmp_path, zero_gpu):
    (tmp_path / "spaces.py").write_text(
        "def GPU(function):\n    print('found', function.__name__)\n    return function\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    code = "import sys, app; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    *found, torch = python("-c", code, SPACES_ZERO_GPU=zero_gpu, PYTHONPATH=path).stdout.splitlines()
    assert torch == "[]"
    assert len(found) == bool(zero_gpu)
