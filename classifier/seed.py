"""The seed benchmark: the published support recipe on labels that keyword rules made, step by step.

Its labels come from a few lists of words, so a model that scores well has learned the lists. It is here to
stand beside published figures, not to say how well messages are understood.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .baselines import baselines
from .desks import SUPPORT
from .evaluate import OVERALL, business_cost, evaluate
from .examples import Examples, describe
from .tables import read_public
from .tasks import TaskSet

ROWS = 3000
SEED = 42

#: The desk's tasks that the recipe has labels for.
TASKS = TaskSet("seed", "Seed benchmark", tuple(task for task in SUPPORT.tasks if task.name != "scope"))

_INTENTS = {
    "refund_request": ("cancel_order", "damaged_card"),
    "billing_issue": ("bill_balance", "bill_due", "pay_bill", "transfer", "balance"),
    "account_access": ("freeze_account", "pin_change", "routing", "user_name"),
    "technical_problem": ("report_fraud", "transactions"),
}
_OTHER_INTENT = "general_question"

_MARKERS = {
    "calm": (("Hi", "Hello", "Hey there", "Excuse me", "Hi team"), ("Thanks", "Thank you", "Appreciate it", "Please")),
    "frustrated": (
        ("Ugh", "Sigh", "Really?", "Come on", "Not again"),
        ("...", "Please help", "This is frustrating", "Can someone help?"),
    ),
    "angry": (
        ("WTF", "OMG", "SERIOUSLY?!", "This is ridiculous!", "I can't believe"),
        ("!!!", "This is unacceptable!!", "Fix this NOW!", "Worst service ever!"),
    ),
}
_HIGH = ("urgent", "emergency", "immediately", "asap", "now", "critical", "fraud", "stolen", "locked")
_MEDIUM = ("soon", "quickly", "help", "issue", "problem", "wrong")
_SENTIMENTS = {
    "angry": ("terrible", "worst", "horrible", "ridiculous", "unacceptable", "pathetic", "stupid"),
    "frustrated": ("frustrated", "annoyed", "disappointed", "confused", "upset"),
    "calm": ("please", "thanks", "thank you", "appreciate", "kindly", "wondering"),
}

#: Cost of each wrong action taken, whatever would have been right.
COSTS = {
    "escalate_to_human": {"auto_resolve": 10.0, "request_more_info": 10.0, "escalate_to_human": 0.0},
    "auto_resolve": {"auto_resolve": 0.0, "request_more_info": 5.0, "escalate_to_human": 5.0},
    "request_more_info": {"auto_resolve": 0.0, "request_more_info": 0.0, "escalate_to_human": 0.0},
}

#: The published figures: accuracy in per cent of all tasks together, of each, and the cost.
PUBLISHED = {
    "published, noisy": (98.1, 100.0, 98.7, 97.3, 96.2, 0.19),
    "published, clean": (97.3, 100.0, 98.7, 95.8, 94.9, 0.26),
    "published, random, noisy": (28.9, 18.0, 33.6, 32.7, 31.6, None),
}

#: The published hyper-parameters as they are.
SETTINGS: dict[str, Any] = {
    "pooling": "first",
    "dropout": 0.3,
    "learning_rate": 3e-5,
    "epochs": 4,
    "batch_size": 8,
    "weight_decay": 0.01,
    "warmup": 0.1,
    "patience": 2,
    "label_smoothing": 0.0,
    "noise": None,
    "max_tokens": 128,
    "seed": SEED,
    "checkpoint_steps": 100_000,
}

WORTH = (
    "What this is worth: the labels were made by keyword rules, so the rules themselves score 100 % here, and a "
    "model that scores well agrees with word lists. On real messages, read twice by people, these rules are wrong "
    "on about half; see the desk's own evaluation for understanding."
)


def rule_intent(intent: str) -> str:
    """The support intent that a CLINC150 intent is mapped to."""
    return next((ours for ours, theirs in _INTENTS.items() if intent in theirs), _OTHER_INTENT)


def rule_labels(text: str, intent: str) -> dict[str, str]:
    """Urgency, sentiment and action by keyword, given the intent; the recipe's labels and its rule baseline."""
    low = text.lower()
    urgency = _urgency(low, intent)
    sentiment = next((name for name, words in _SENTIMENTS.items() if _holds(low, words)), None)
    if sentiment is None:
        sentiment = "frustrated" if "!" in text or text.isupper() else "calm"
    if urgency == "high" or sentiment == "angry":
        action = "escalate_to_human"
    elif intent == _OTHER_INTENT and sentiment == "calm":
        action = "auto_resolve"
    elif intent in ("billing_issue", "account_access") and urgency == "medium":
        action = "request_more_info"
    elif intent in ("refund_request", "technical_problem"):
        action = "escalate_to_human"
    else:
        action = "request_more_info"
    return {"intent": intent, "urgency": urgency, "sentiment": sentiment, "action": action}


def seed_splits(folder: str | Path | None = None) -> dict[str, Examples]:
    """The recipe's data: ``train``, ``validation`` and ``test``, and ``clean``, the test without its markers.

    Args:
        folder: A folder with ``clinc150/train.jsonl.gz``; the Hub if None.

    Raises:
        ClassifierError: The data cannot be found.
    """
    table = read_public("clinc150", "train", folder)
    rng = random.Random(SEED)
    texts = [add_markers(text, rng) for text in table["text"][:ROWS]]
    labels = [rule_labels(text, rule_intent(intent)) for text, intent in zip(texts, table["intent"], strict=False)]
    examples = Examples(
        texts, {task.name: np.array([task.index(row[task.name]) for row in labels], np.int64) for task in TASKS.tasks}
    )
    order = np.random.default_rng(SEED).permutation(len(texts))
    first, second = round(0.7 * len(texts)), round(0.85 * len(texts))
    test = examples.take(order[second:])
    return {
        "train": examples.take(order[:first]),
        "validation": examples.take(order[first:second]),
        "test": test,
        "clean": replace(test, texts=[strip_markers(text) for text in test.texts]),
    }


def add_markers(text: str, rng: random.Random) -> str:
    """The recipe's noise: markers of a mood drawn at random, then typos, then casing."""
    mood = rng.choice(tuple(_MARKERS))
    if rng.random() >= 0.8:
        return text
    prefixes, suffixes = _MARKERS[mood]
    if rng.random() < 0.4:
        text = f"{rng.choice(prefixes)} {text}"
    if rng.random() < 0.4:
        text = f"{text} {rng.choice(suffixes)}"
    if rng.random() < 0.3:
        text = _typos(text, rng)
    if rng.random() < 0.2:
        style = rng.choice(("lower", "upper", "title", "random"))
        if style == "random":
            return "".join(letter.upper() if rng.random() < 0.3 else letter for letter in text)
        return {"lower": text.lower(), "upper": text.upper(), "title": text.title()}[style]
    return text


def strip_markers(text: str) -> str:
    """The recipe's clean text: without its four exclamations, runs of ``!`` and ``.``, and double spaces."""
    text = re.sub(r"\b(WTF|OMG|Ugh|Sigh)\b", "", text)
    text = re.sub(r"\.+", ".", re.sub(r"!+", ".", text))
    return " ".join(text.split())


def run_seed(
    base: str, out: Path, *, folder: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Train by the recipe and score noisy and clean test beside baselines and the published figures.

    Args:
        base: Folder or Hub name of the encoder.
        out: The run's files stand beside this path, in ``<out>.run``.
        folder: Where the data is; the Hub if None.
        overrides: Training settings to change from the published ones.

    Returns:
        Plain data: per system `overall` (mean accuracy of the tasks), `interval`, `tasks`, `cost` and `wrong`.

    Raises:
        ClassifierError: As `train.train`.
    """
    from .logits import predict_logits
    from .settings import TrainSettings
    from .train import Prepared, fit, make_accelerator

    parts = seed_splits(folder)
    settings = TrainSettings.build(
        SETTINGS, {"data": [{"path": "clinc150"}], "base": base, "out": out}, overrides or {}
    )
    report = {part: describe(parts[part], TASKS) for part in ("train", "validation")}
    prepared = Prepared(TASKS, TASKS, parts["train"], parts["validation"], None, report)
    model, tokenizer, progress = fit(settings, prepared, make_accelerator(settings), resume=False)
    model.cpu()
    systems = {}
    for part, name in (("test", "noisy"), ("clean", "clean")):
        logits = predict_logits(model, tokenizer, parts[part].texts, settings.max_tokens)
        systems[f"ours, {name}"] = seed_scores(logits, parts[part])
        for baseline, shares in baselines(parts["train"], parts[part].texts, TASKS, base=base, seed=SEED).items():
            systems[f"{baseline}, {name}"] = seed_scores(shares, parts[part])
    systems["keyword rules, noisy"] = seed_scores(rule_answers(parts["test"]), parts["test"])
    systems["keyword rules, clean"] = seed_scores(rule_answers(parts["clean"]), parts["clean"])
    return {
        "systems": systems,
        "published": PUBLISHED,
        "settings": settings.model_dump(mode="json", exclude={"out", "report_to"}),
        "seconds": round(progress.seconds, 1),
        "worth": WORTH,
    }


def rule_answers(examples: Examples) -> dict[str, NDArray[np.float64]]:
    """What the keyword rules answer to the texts, the intent being given as in the recipe."""
    intent = TASKS.task("intent")
    rows = [
        rule_labels(text, intent.label_names[label])
        for text, label in zip(examples.texts, examples.labels["intent"], strict=True)
    ]
    return {task.name: np.eye(len(task.labels))[[task.index(row[task.name]) for row in rows]] for task in TASKS.tasks}


def seed_scores(scores: Mapping[str, NDArray[Any]], examples: Examples) -> dict[str, Any]:
    """Accuracies and cost of answers, (n, labels) per task, as the published table has them."""
    found = evaluate(scores, examples.labels, TASKS)
    action = TASKS.task("action")
    predicted, truth = scores["action"].argmax(1), examples.labels["action"]
    wrong = np.bincount(predicted[predicted != truth], minlength=len(action.labels))
    tasks = {name: found[name]["accuracy"] for name in TASKS.task_names}
    return {
        "overall": float(np.mean(list(tasks.values()))),
        "tasks": tasks,
        "intervals": {name: found[name]["interval"] for name in tasks},
        "all_right": found[OVERALL]["all_right"],
        "cost": float(business_cost(predicted, truth, action.label_names, COSTS).mean()),
        "wrong": dict(zip(action.label_names, wrong.tolist(), strict=True)),
        "n": len(examples),
    }


def seed_table(found: Mapping[str, Any]) -> str:
    """The result of `run_seed` as a Markdown table, with a sentence on what it is worth."""
    lines = ["| system | overall | " + " | ".join(TASKS.task_names) + " | cost | wrong escalations | wrong automatic |"]
    lines.append("|---" * (len(TASKS.task_names) + 5) + "|")
    for name, row in found["systems"].items():
        shares = " | ".join(f"{100 * value:.1f}" for value in (row["overall"], *row["tasks"].values()))
        wrong = row["wrong"]
        lines.append(
            f"| {name} | {shares} | {row['cost']:.2f} | {wrong['escalate_to_human']} | {wrong['auto_resolve']} |"
        )
    for name, (*shares, cost) in found["published"].items():
        cells = " | ".join(f"{share:.1f}" for share in shares)
        lines.append(f"| {name} | {cells} | {'' if cost is None else f'{cost:.2f}'} | | |")
    return "\n".join([*lines, "", found["worth"]])


def _urgency(low: str, intent: str) -> str:
    if _holds(low, _HIGH):
        return "high"
    if intent in ("refund_request", "technical_problem") or _holds(low, _MEDIUM):
        return "medium"
    return "low"


def _typos(text: str, rng: random.Random) -> str:
    letters = list(text)
    position = 0
    while position < len(letters):
        if letters[position].isalpha() and rng.random() < 0.08:
            kind = rng.choice(("swap", "delete", "insert"))
            if kind == "swap" and position + 1 < len(letters):
                letters[position : position + 2] = letters[position + 1], letters[position]
                position += 1
            elif kind == "delete":
                del letters[position]
                continue
            elif kind == "insert":
                letters.insert(position, rng.choice("abcdefghijklmnopqrstuvwxyz"))
                position += 1
        position += 1
    return "".join(letters)


def _holds(low: str, words: Sequence[str]) -> bool:
    return any(word in low for word in words)
