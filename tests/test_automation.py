import random

import numpy as np
import pytest
from answers import POLICY, message

from classifier import Classifier
from classifier.automation import fingerprint, halves, labelled, remembered
from classifier.budget import at_level
from classifier.examples import Examples
from classifier.folder import EMBEDDED


def test_labelled_messages_keep_only_the_labels_they_have(classifier):
    examples = Examples(["help me", "my card"], {"action": np.array([2, -100]), "urgency": np.array([0, 1])})
    (text, probabilities, labels), (_, _, others) = labelled(classifier, examples)
    assert (text, labels, others) == (
        "help me",
        {"action": "escalate_to_human", "urgency": "low"},
        {"urgency": "medium"},
    )
    expected = classifier.classify("help me").probabilities
    assert all(probabilities[task] == pytest.approx(shares, abs=1e-3) for task, shares in expected.items())


def test_halves_count_on_the_half_that_did_not_choose():
    rng = random.Random(3)
    messages = []
    for _ in range(600):
        confidence = 0.7 + 0.3 * rng.random()
        right = "auto_resolve" if rng.random() < confidence else "request_more_info"
        messages.append(message("auto_resolve", confidence, right))
    found = halves(POLICY, messages, 0.2, 0.9, draws=20)
    assert found["promised"] == 1
    assert 0.05 < found["wrong"] < 0.2
    assert 0 < found["automatic"] <= 1
    assert halves(POLICY, messages, 0.001, 0.9, draws=3) == {
        "max_wrong": 0.001,
        "confidence": 0.9,
        "draws": 3,
        "promised": 0.0,
    }


def test_a_curve_belongs_to_costs_and_rules_and_not_to_the_confidence_asked_for():
    assert fingerprint(at_level(POLICY, 0.9)) == fingerprint(POLICY)
    assert fingerprint(POLICY.changed(version="another name", priorities=[])) == fingerprint(POLICY)
    assert fingerprint(POLICY.changed(automatic_lead=0.3)) != fingerprint(POLICY)
    assert fingerprint(POLICY.changed(always_escalate=["refund"])) != fingerprint(POLICY)


def test_the_embedded_model_knows_the_error_rates_of_its_policy():
    if not (EMBEDDED / "config.json").is_file():
        pytest.skip(f"there is no embedded model in {EMBEDDED.name}")
    assert remembered(EMBEDDED, Classifier.load().policy) is not None
