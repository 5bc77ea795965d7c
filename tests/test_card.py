import contextlib
import io
import re

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from classifier.card import MARK, model_card, write_card
from classifier.errors import ClassifierError
from classifier.finish import _name
from classifier.folder import CARD, REPORT, ModelFolder, write_json
from classifier.hub import TEMPLATES, push
from classifier.predict import Classifier

REPO = "ann/tiny"
REPORT_DATA = {
    "training": {
        "settings": {
            "base": "distilbert-base-uncased",
            "data": [{"path": "clinc/clinc_oos:plus"}, {"path": "/home/ann/secret-project/messages.csv"}],
            "aux": [],
        }
    },
    "evaluation": {
        "dev_clean": {
            "n": 320,
            "tasks": {
                "intent": {"accuracy": 0.9123, "macro_f1": 0.8, "ece": 0.03, "interval": [0.88, 0.94]},
                "urgency": {"accuracy": 0.85, "macro_f1": None},
            },
        },
        "dev_noisy": {"n": 310, "tasks": {"intent": {"accuracy": 0.9}}},
    },
}


def metadata(card: str) -> dict:
    return yaml.safe_load(card.split("---")[1])


def snippets(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


def test_figures_of_the_report_stand_in_the_metadata_and_the_table(own_folder):
    write_json(own_folder / REPORT, REPORT_DATA)
    card = model_card(ModelFolder.read(own_folder), REPO)
    results = ModelCard(card).data.eval_results
    found = {
        (result.dataset_split, result.dataset_config, result.metric_type): result.metric_value for result in results
    }
    assert found == {
        ("dev_clean", "intent", "accuracy"): 0.9123,
        ("dev_clean", "intent", "f1"): 0.8,
        ("dev_clean", "intent", "ece"): 0.03,
        ("dev_clean", "urgency", "accuracy"): 0.85,
        ("dev_noisy", "intent", "accuracy"): 0.9,
    }
    assert "| intent | 0.912 | 0.800 | 0.030 | 0.880 to 0.940 | 320 |" in card
    assert "| urgency | 0.850 |  |  |  | 320 |" in card
    assert "| intent | 0.900 | 310 |" in card


def test_unknown_figures_and_facts_are_left_out(own_folder):
    card = model_card(ModelFolder.read(own_folder), REPO)
    assert {"model-index", "model_name", "base_model", "license", "datasets", "metrics"}.isdisjoint(metadata(card))
    assert "## Results" not in card
    assert not re.search(r"\b(None|null|nan|unknown|TODO)\b", re.sub(r"```python.*?```", "", card, flags=re.DOTALL))


def test_what_the_report_says_of_training_stands_in_the_metadata(own_folder):
    write_json(own_folder / REPORT, REPORT_DATA)
    card = model_card(ModelFolder.read(own_folder), REPO, license="apache-2.0")
    data = metadata(card)
    assert data["license"] == "apache-2.0"
    assert data["base_model"] == "distilbert-base-uncased"
    assert data["datasets"] == ["clinc/clinc_oos"]
    assert data["pipeline_tag"] == "text-classification"
    assert {"distilbert", "onnx", "support"} <= set(data["tags"])


def test_paths_of_the_machine_stay_out(own_folder, tmp_path):
    settings = {**REPORT_DATA["training"]["settings"], "base": str(tmp_path)}
    write_json(own_folder / REPORT, {"training": {"settings": settings}})
    card = model_card(ModelFolder.read(own_folder), REPO)
    assert "base_model" not in metadata(card)
    assert "messages.csv" in card and "secret-project" not in card and str(tmp_path.parent) not in card


def test_a_folder_is_not_taken_for_a_model_of_the_hub(own_folder, tmp_path):
    (tmp_path / "encoder").mkdir()
    settings = {**REPORT_DATA["training"]["settings"], "base": _name(str(tmp_path / "encoder"))}
    write_json(own_folder / REPORT, {"training": {"settings": settings}})
    card = model_card(ModelFolder.read(own_folder), REPO)
    assert "base_model" not in metadata(card) and "- Base model: encoder" in card


def test_every_label_is_explained(own_folder):
    folder = ModelFolder.read(own_folder)
    card = model_card(folder, REPO)
    for task in folder.tasks.tasks:
        for label in task.labels:
            assert f"| {label.name} | {label.description} |" in card


def test_what_the_report_says_of_data_and_int8_stands_in_the_card(own_folder):
    shares = {"intent": {"labelled": 90, "shares": {"refund_request": 0.125, "billing_issue": 0.875}}}
    data = {"train": {"rows": 9000, "tasks": shares}, "validation": {"rows": 1000, "tasks": {}}}
    int8 = {"n": 1200, "tasks": {"intent": {"agreement": 0.9951}, "urgency": {"agreement": 0.999}}}
    write_json(own_folder / REPORT, {"data": data, "int8": int8, "calibration": {"on": "validation"}})
    card = model_card(ModelFolder.read(own_folder), REPO)
    assert re.search(r"\| refund_request \| .+ \| 12\.5% \|", card)
    assert "9,000 trained on, 1,000 held out" in card
    assert "label on 99.5% to 99.9% of 1,200 messages" in card
    assert "fitted on the validation messages" in card


def test_a_folder_without_weights_is_not_said_to_have_them(own_folder):
    assert "With transformers alone" in model_card(ModelFolder.read(own_folder), "ann/desk")
    (own_folder / "model.safetensors").unlink()
    card = model_card(ModelFolder.read(own_folder), "ann/desk")
    assert "With transformers alone" not in card and "model.safetensors" not in card
    assert "With the package" in card and "With ONNX Runtime alone" in card


def test_notes_stand_in_the_card(hub, own_folder, tmp_path):
    notes = tmp_path / "notes.md"
    notes.write_text("## Data\n\nWritten by us.\n")
    push(own_folder, REPO, notes=notes)
    assert "\n\n## Data\n\nWritten by us.\n\n## Limits" in hub.files(REPO)[CARD].decode()
    with pytest.raises(ClassifierError, match="notes"):
        push(own_folder, REPO, notes=tmp_path / "nothing.md")


def test_a_card_written_by_hand_is_left_alone(own_folder):
    (own_folder / CARD).write_text("---\nlicense: mit\n---\nOurs.\n")
    write_card(ModelFolder.read(own_folder), REPO)
    assert (own_folder / CARD).read_text().endswith("Ours.\n")


def test_a_generated_card_follows_a_new_report(own_folder):
    write_card(ModelFolder.read(own_folder), REPO)
    assert MARK in (own_folder / CARD).read_text()
    write_json(own_folder / REPORT, REPORT_DATA)
    write_card(ModelFolder.read(own_folder), REPO)
    assert "0.912" in (own_folder / CARD).read_text()


@pytest.fixture(scope="module")
def answers(tiny_folder):
    """What the package says to the message of the snippets, with the float model."""
    classifier = Classifier.load(tiny_folder, backend="onnx-fp32")
    return classifier.classify(classifier.tasks.examples[0]).labels


def run_snippet(code: str) -> str:
    """What the code prints; the client of this process talks to the loopback Hub."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    return printed.getvalue()


def test_the_cards_snippets_run_as_they_stand(hub, own_folder, answers):
    push(own_folder, REPO)
    ours, transformers, onnx = snippets(hub.files(REPO)[CARD].decode())
    int8 = Classifier.load(own_folder).classify(Classifier.load(own_folder).tasks.examples[0])
    assert run_snippet(ours) == f"{int8.labels} {int8.route.action}\n"
    lines = dict(line.split() for line in run_snippet(transformers).splitlines())
    assert lines == answers
    lines = dict(line.split() for line in run_snippet(onnx).splitlines())
    assert lines == int8.labels


def test_the_endpoints_handler_answers_as_the_package_does(own_folder):
    write_json(own_folder / "calibration.json", {"temperatures": {"intent": 2.5}})
    namespace: dict = {}
    exec((TEMPLATES / "endpoint/handler.py").read_text(), namespace)
    handler = namespace["EndpointHandler"](str(own_folder))
    classifier = Classifier.load(own_folder)
    messages = ["refund my card please", "help " * 100, "what hours?"]
    for message, answer in zip(messages, handler({"inputs": messages}), strict=True):
        result = classifier.classify(message)
        assert {task: answer[task] for task in result.labels} == result.labels
        for task, shares in result.probabilities.items():
            assert np.allclose(list(answer["probabilities"][task].values()), list(shares.values()), atol=2e-3)
    assert len(handler({"inputs": "one message"})) == 1
