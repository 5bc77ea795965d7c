import random

import numpy as np
import pytest
from conftest import SHARED

from classifier.seed import (
    TASKS,
    add_markers,
    rule_answers,
    rule_intent,
    rule_labels,
    seed_scores,
    seed_splits,
    seed_table,
    strip_markers,
)


@pytest.fixture(scope="module")
def splits():
    if not (SHARED / "data/clinc150").is_dir():
        pytest.skip(f"CLINC150 is not at {SHARED / 'data'}")
    return seed_splits(SHARED / "data")


@pytest.mark.parametrize(
    ("text", "intent", "labels"),
    [
        ("where is my card", "refund_request", ("medium", "calm", "escalate_to_human")),
        ("pay my bill now", "billing_issue", ("high", "calm", "escalate_to_human")),
        ("please help with my bill", "billing_issue", ("medium", "calm", "request_more_info")),
        ("WHAT TIME IS IT", "general_question", ("low", "frustrated", "request_more_info")),
        ("what time is it, thanks", "general_question", ("low", "calm", "auto_resolve")),
        ("the worst, please", "account_access", ("low", "angry", "escalate_to_human")),
        ("i dont know", "general_question", ("high", "calm", "escalate_to_human")),  # "know" holds "now"
    ],
)
def test_labels_follow_the_published_rules(text, intent, labels):
    found = rule_labels(text, intent)
    assert (found["urgency"], found["sentiment"], found["action"]) == labels


def test_intents_are_mapped_as_published():
    assert rule_intent("pin_change") == "account_access"
    assert rule_intent("order_status") == rule_intent("oos") == "general_question"


def test_noise_is_fixed_by_its_seed_and_stripping_takes_markers_away():
    texts = [add_markers("what is my balance", random.Random(seed)) for seed in range(300)]
    assert texts == [add_markers("what is my balance", random.Random(seed)) for seed in range(300)]
    assert 0.2 < np.mean([text == "what is my balance" for text in texts]) < 0.6
    assert any(text.startswith("WTF ") for text in texts)
    assert strip_markers("WTF what is it!!! now...  ok") == "what is it. now. ok"


def test_the_splits_have_the_published_sizes(splits):
    assert {part: len(examples) for part, examples in splits.items()} == {
        "train": 2100,
        "validation": 450,
        "test": 450,
        "clean": 450,
    }


def test_the_rules_are_perfect_on_their_own_labels_and_lose_what_stripping_takes(splits):
    noisy = seed_scores(rule_answers(splits["test"]), splits["test"])
    clean = seed_scores(rule_answers(splits["clean"]), splits["clean"])
    assert noisy["overall"] == 1 and noisy["cost"] == 0
    # The published model: 97.3 overall with 21 false automatic answers on the clean test.
    assert 0.96 < clean["overall"] < 0.98
    assert clean["wrong"]["escalate_to_human"] == 0
    assert clean["cost"] == pytest.approx(5 * clean["wrong"]["auto_resolve"] / 450)


def test_the_table_shows_ours_beside_the_published_figures(splits):
    scores = seed_scores(rule_answers(splits["test"]), splits["test"])
    table = seed_table({"systems": {"keyword rules": scores}, "published": {"x": (1, 2, 3, 4, 5, None)}, "worth": "W"})
    rows = table.splitlines()
    assert rows[2].startswith("| keyword rules | 100.0 |")
    assert {row.count("|") for row in rows[:4]} == {len(TASKS.tasks) + 6}
    assert table.endswith("W")
