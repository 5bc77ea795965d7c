import hashlib
import json
from pathlib import Path

import pytest

from classifier.behaviour import CASES, as_text, check, probe, run, wilson
from classifier.cases import (
    ROUTE,
    TOLERANCE,
    Direction,
    Invariance,
    MinimumFunctionality,
    Probe,
    read_cases,
    read_probes,
)
from classifier.desks import SUPPORT
from classifier.errors import ClassifierError
from classifier.folder import EMBEDDED
from classifier.policy import Policy
from classifier.predict import Classifier

ROOT = Path(__file__).parents[1]

#: Shares that the embedded model reaches, less a case of each, since int8 differs a little between processors (all 139
#: cases of behaviour pass where it was made). Raise them with the model, never lower them.
FLOORS = {"safety": 0.975, "behaviour": 0.99, "bias": 0.98}


def texts_of_training() -> set[str]:
    files = sorted((ROOT / "examples/data").glob("support*.jsonl"))
    assert files
    return {plain(json.loads(line)["text"]) for file in files for line in file.read_text("utf-8").splitlines()}


def hashes_of_training() -> set[str]:
    files = sorted((ROOT / "examples/data").glob("public_labels*.jsonl"))
    return {json.loads(line)["text_sha256"] for file in files for line in file.read_text("utf-8").splitlines()}


def plain(text: str) -> str:
    return " ".join(text.lower().split())


@pytest.fixture(scope="module")
def safety():
    return read_cases(CASES / "safety.jsonl")


@pytest.fixture(scope="module")
def behaviour():
    return read_cases(CASES / "behaviour.jsonl")


@pytest.fixture(scope="module")
def bias():
    return read_probes(CASES / "bias.jsonl")


def test_there_are_enough_cases_of_every_kind(safety, behaviour, bias):
    assert len(safety) >= 160
    assert len(behaviour) >= 100
    assert {case.kind for case in behaviour} == {"MFT", "INV", "DIR"}
    assert {case.group for case in bias} == {"names", "politeness", "dialect"}


def test_no_message_stands_twice(safety, behaviour):
    for cases in (safety, behaviour):
        messages = [tuple(map(plain, case.texts)) for case in cases]
        assert len(set(messages)) == len(messages)
    for case in behaviour:
        assert len(set(case.texts)) == len(case.texts)


def test_a_safety_message_must_reach_a_person(safety):
    most_cautious = Policy.for_tasks(SUPPORT).actions[-1]
    assert all(case.expect == {ROUTE: [most_cautious]} for case in safety)


def test_the_cases_were_never_trained_on(safety, behaviour):
    written, public = texts_of_training(), hashes_of_training()
    for case in (*safety, *behaviour):
        for text in map(plain, case.texts):
            assert text not in written
            assert hashlib.sha256(text.encode()).hexdigest()[:16] not in public


def test_the_cases_are_no_development_messages(safety, behaviour, gold_dev):
    known = {plain(row["text"]) for row in gold_dev}
    assert not known & {plain(text) for case in (*safety, *behaviour) for text in case.texts}


def test_the_cases_name_only_what_the_desk_has(safety, behaviour, classifier):
    check(classifier, [*safety, *behaviour])


def test_an_expected_answer_passes_and_another_fails(classifier):
    text = "i was charged twice"
    result = classifier.classify(text)
    label = result.labels["intent"]
    other = next(name for name in SUPPORT.task("intent").label_names if name != label)
    right = MinimumFunctionality(kind="MFT", group="g", text=text, expect={"intent": [label, other]})
    wrong = MinimumFunctionality(kind="MFT", group="g", text=text, expect={"intent": [other]})
    report = check(classifier, [right, wrong])
    assert (report["passed"], report["n"], report["share"]) == (1, 2, 0.5)
    (failure,) = report["failures"]
    assert failure["texts"] == [text] and failure["fault"] == f"intent is {label}, not {other}"
    assert report["groups"]["g"]["n"] == report["kinds"]["MFT"]["n"] == 2


def test_invariance_fails_exactly_when_the_answer_changes(classifier):
    texts = ["i was charged twice", "help", "what are my hours", "please refund my card", "WTF fix this"]
    for variant in texts[1:]:
        case = Invariance(kind="INV", group="g", text=texts[0], variant=variant, same=["intent", ROUTE])
        first, second = classifier.classify(texts[0]), classifier.classify(variant)
        same = first.labels["intent"] == second.labels["intent"] and first.route.action == second.route.action
        assert check(classifier, [case])["passed"] == same


def test_a_probability_must_move_in_the_direction(classifier):
    before, after = "i was charged twice", "please refund my card"
    old, new = (classifier.classify(text).probabilities["sentiment"]["angry"] for text in (before, after))
    assert abs(old - new) > TOLERANCE
    for direction, passes in (("up", new > old), ("down", new < old)):
        case = Direction(
            kind="DIR", group="g", text=before, variant=after, task="sentiment", label="angry", direction=direction
        )
        assert check(classifier, [case])["passed"] == passes


def test_probes_count_changed_routes(classifier):
    same = Probe(group="same", template="{} my refund", fills=["help", "help", "help"])
    assert probe(classifier, [same])["groups"]["same"]["passed"] == 2
    messages = ["help", "i was charged twice", "what are my hours", "please refund my card", "x", "WTF fix this"]
    mixed = Probe(group="mixed", template="{}", fills=messages)
    actions = [classifier.classify(text).route.action for text in messages]
    report = probe(classifier, [mixed])
    assert report["passed"] == sum(action == actions[0] for action in actions[1:])
    assert len(report["failures"]) == report["n"] - report["passed"]


def test_a_label_that_the_model_does_not_have_is_a_clear_error(classifier):
    case = MinimumFunctionality(kind="MFT", group="g", text="help", expect={"intent": ["refnud"]})
    with pytest.raises(ClassifierError, match=r"names refnud for intent.*refund_request"):
        check(classifier, [case])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"kind": "MFT", "group": "g", "text": "x"}', "line 1: MFT.expect: Field required"),
        ('{"kind": "ABC", "group": "g"}', "line 1"),
        ("no json", "line 1"),
        ("", "holds no cases"),
    ],
)
def test_a_damaged_file_says_where(tmp_path, line, message):
    (tmp_path / "cases.jsonl").write_text(line)
    with pytest.raises(ClassifierError, match=message):
        read_cases(tmp_path / "cases.jsonl")


def test_a_missing_file_is_a_clear_error(tmp_path):
    with pytest.raises(ClassifierError, match="cannot be read"):
        read_probes(tmp_path / "bias.jsonl")


def test_the_interval_is_wilsons():
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)


def test_the_command_prints_shares_and_failures(capsys, tiny_folder):
    from classifier.__main__ import main

    assert main(["behaviour", "--model", str(tiny_folder), "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)
    assert list(reports) == ["safety", "behaviour", "bias"]
    lines = list(as_text(reports))
    for name, report in reports.items():
        assert len(report["failures"]) == report["n"] - report["passed"]
        assert any(line.startswith(name) and f"{report['share']:.1%}" in line for line in lines)
        assert all(any(text in line for line in lines) for failure in report["failures"] for text in failure["texts"])


@pytest.mark.skipif(not (EMBEDDED / "config.json").is_file(), reason="the embedded model is not there")
def test_the_embedded_model_keeps_what_it_reaches():
    reports = run(Classifier.load(), CASES)
    for name, floor in FLOORS.items():
        faults = [failure["fault"] for failure in reports[name]["failures"]]
        assert reports[name]["share"] >= floor, faults
