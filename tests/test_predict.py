import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from classifier.errors import ClassifierError
from classifier.predict import Classifier
from classifier.session import available_cores
from classifier.windows import WINDOW

ROOT = Path(__file__).parents[1]


def test_the_result_has_the_contracts_form(classifier):
    result = classifier.classify("i was charged twice, please help").to_dict()
    tasks = ["intent", "urgency", "sentiment", "action", "scope"]
    assert list(result) == [
        *tasks,
        "confidence",
        "probabilities",
        "route",
        "tokens",
        "truncated",
        "latency_ms",
        "model",
    ]
    for task in tasks:
        shares = result["probabilities"][task]
        assert result[task] == max(shares, key=shares.get)
        assert result["confidence"][task] == max(shares.values())
        assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    assert {"action", "queue", "automatic", "reasons"} <= set(result["route"])
    assert all(set(reason) == {"code", "text"} for reason in result["route"]["reasons"])
    assert list(result["latency_ms"]) == ["tokenize", "model", "route", "total"]
    assert result["latency_ms"]["total"] == pytest.approx(
        sum(result["latency_ms"][step] for step in ("tokenize", "model", "route")), abs=0.01
    )
    assert set(result["model"]) == {"id", "revision", "backend"}
    assert result["model"]["backend"] == "onnx-int8"


def test_another_policy_can_route(own_folder):
    classifier = Classifier.load(own_folder)
    policy = classifier.policy.changed(version="mine", always_escalate=["card"])
    classifier.use_policy(policy)
    route = classifier.classify("where is my card?").route
    assert (route.action, route.policy, classifier.info["policy_version"]) == ("escalate_to_human", "mine", "mine")
    with pytest.raises(ClassifierError, match="'mood' is not a task"):
        classifier.use_policy(policy.changed(automatic_needs={"mood": 0.5}))


def test_two_cores_answer_a_single_message_of_a_large_model_as_one_does(monkeypatch):
    classifier = Classifier.load()
    monkeypatch.setattr("classifier.predict.LARGE_FILE", 1)
    large = Classifier.load(threads=2)
    assert large._single_session.get_session_options().intra_op_num_threads == 2
    assert large._session.get_session_options().intra_op_num_threads == 1
    assert Classifier.load(threads=1)._single_session.get_session_options().intra_op_num_threads == 1
    texts = ["i was charged twice, please help", "WHERE IS MY PARCEL " * 30]
    with ThreadPoolExecutor(4) as pool:
        for answer, alone in zip(pool.map(large.classify, texts * 4), map(classifier.classify, texts * 4), strict=True):
            assert answer.route.action == alone.route.action
            for task, shares in alone.probabilities.items():
                assert answer.probabilities[task] == pytest.approx(shares, abs=1e-5)


def test_a_result_cannot_be_changed(classifier):
    with pytest.raises(AttributeError):
        classifier.classify("help").tokens = 3


def test_the_float_graph_answers_as_the_torch_model(tiny_folder, tiny_model):
    served = Classifier.load(tiny_folder, backend="onnx-fp32")
    texts = ["what are my hours", "WTF!! i was charged twice", "x"]
    for text in texts:
        ids = torch.tensor([served._reader.read([text]).encodings[0].ids])
        with torch.inference_mode():
            logits = tiny_model(ids, torch.ones_like(ids))
        for task, shares in served.classify(text).probabilities.items():
            expected = logits[task][0].softmax(0).numpy()
            assert np.allclose(list(shares.values()), expected, atol=1e-5)


def test_temperature_divides_the_logits(own_folder):
    from classifier.folder import write_json

    plain = Classifier.load(own_folder).classify("charged twice").probabilities["intent"]
    write_json(own_folder / "calibration.json", {"temperatures": {"intent": 2.0}})
    warm = Classifier.load(own_folder).classify("charged twice").probabilities["intent"]
    expected = np.sqrt(list(plain.values()))
    assert np.allclose(list(warm.values()), expected / expected.sum(), atol=1e-5)


def test_many_messages_come_back_in_order_and_as_if_alone(classifier):
    texts = [f"{'please ' * (index % 23)}refund order {index}" for index in range(200)]
    for text, result in zip(texts, classifier.classify_many(texts), strict=True):
        alone = classifier.classify(text)
        assert result.labels == alone.labels
        assert (result.route.action, result.route.queue) == (alone.route.action, alone.route.queue)
        for task in alone.probabilities:
            assert result.probabilities[task] == pytest.approx(alone.probabilities[task], abs=1e-4)


def test_an_endless_stream_is_answered_in_bounded_memory(classifier):
    asked = itertools.count()
    stream = (f"order {next(asked)}" for _ in itertools.repeat(None))
    results = classifier.classify_many(stream)
    next(results)
    assert next(asked) <= 2 * WINDOW + 1


def test_no_messages_no_results(classifier):
    assert list(classifier.classify_many([])) == []


def test_one_string_is_not_many_messages(classifier):
    with pytest.raises(ClassifierError, match="given one string"):
        next(classifier.classify_many("help"))


@pytest.mark.parametrize("text", ["", "   \n\t ", "\x00\x00", "\u200b"])
def test_a_message_without_anything_to_read_is_a_clear_error(classifier, text):
    with pytest.raises(ClassifierError, match="nothing to read"):
        classifier.classify(text)


@pytest.mark.parametrize("value", [None, 3, b"help", ["help"]])
def test_a_message_that_is_no_string_is_a_clear_error(classifier, value):
    with pytest.raises(ClassifierError, match="expected a string"):
        classifier.classify(value)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "😡😡😡",
        "help\x00me\x07",
        "\ud83d help",  # half an emoji
        "مرحبا، أحتاج إلى مساعدة",
        "a" * 1_000_000,
        "help " * 200_000,
        "\u202ehelp\u202c",
        "i̇" * 300,
    ],
)
def test_hostile_text_is_answered(classifier, text):
    result = classifier.classify(text)
    assert result.tokens <= classifier.folder.max_tokens
    assert sum(result.probabilities["intent"].values()) == pytest.approx(1)


def test_a_long_message_is_cut_and_says_so(classifier):
    text = "please refund my order " * 40
    result = classifier.classify(text)
    assert result.truncated and result.tokens == classifier.folder.max_tokens
    part = classifier.part_read(text)
    assert text.startswith(part) and 0 < len(part) < len(text)
    alone = classifier.classify(part)
    assert not alone.truncated and alone.probabilities == result.probabilities


def test_a_short_message_is_read_whole(classifier):
    text = "please refund my order"
    assert not classifier.classify(text).truncated
    assert classifier.part_read(text) == text


def test_threads_share_one_classifier(classifier):
    texts = [f"refund order {index}" for index in range(40)]
    expected = [classifier.classify(text).probabilities for text in texts]
    with ThreadPoolExecutor(10) as pool:
        assert [result.probabilities for result in pool.map(classifier.classify, texts)] == expected


def test_info_tells_what_answers(classifier, tiny_folder):
    info = classifier.info
    assert info["model"]["id"] == str(tiny_folder)
    assert list(info["tasks"]) == list(classifier.tasks.task_names)
    assert info["max_tokens"] == 32


def test_at_least_one_core_is_available():
    assert available_cores() >= 1


def test_the_serve_half_loads_neither_torch_nor_transformers(tiny_folder):
    code = f"""
import sys
import classifier
assert "onnxruntime" not in sys.modules and "numpy" not in sys.modules
served = classifier.Classifier.load({str(tiny_folder)!r})
assert served.classify("charged twice").to_dict()["route"]["reasons"]
assert len(list(served.classify_many(["refund", "help"]))) == 2
loaded = {{"torch", "transformers", "gradio", "sklearn", "datasets"}} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
