"""The curve of automation against error of a model: measured on labelled messages, kept in its folder, tested."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .budget import LEVELS, Choice, Curve, Message, at_level
from .errors import ClassifierError
from .folder import CALIBRATION, POLICY, ModelFolder, read_json, write_json
from .policy import Policy

if TYPE_CHECKING:
    from .examples import Examples
    from .predict import Classifier


def labelled(classifier: Classifier, examples: Examples) -> list[Message]:
    """Text, probabilities and right labels of each message, as `Curve.measure` takes them.

    Args:
        classifier: What answers.
        examples: Labelled messages that it was not trained on.
    """
    names = {task.name: task.label_names for task in classifier.tasks.tasks}
    rows = zip(examples.texts, classifier.probabilities(examples.texts), strict=True)
    return [
        (text, found, {task: names[task][values[row]] for task, values in examples.labels.items() if values[row] >= 0})
        for row, (text, found) in enumerate(rows)
    ]


def halves(
    policy: Policy, messages: Sequence[Message], max_wrong: float, confidence: float, *, draws: int = 200, seed: int = 0
) -> dict[str, float]:
    """Promise against what happened: choose a level on one random half of the messages, count on the other.

    Args:
        policy: What routes them.
        messages: Text, probabilities and right labels of each.
        max_wrong: The promise.
        confidence: How sure it is to be.
        draws: Random halves.
        seed: Of the halves.

    Returns:
        ``promised``: share of draws in which a promise was possible; of these the mean share ``automatic`` and
        ``wrong`` on the other half, and ``broken``: the share in which more than `max_wrong` were wrong there (the
        other half is itself a small sample, so this is more than the risk of the promise even where that holds).
    """
    rng, seen = random.Random(seed), []
    for _ in range(draws):
        order = rng.sample(messages, len(messages))
        first, second = (Curve.measure(policy, half) for half in (order[::2], order[1::2]))
        with contextlib.suppress(ClassifierError):
            index = LEVELS.index(first.choose(max_wrong, confidence).level)
            seen.append((second.automatic[index] / second.n, second.wrong[index] / max(second.automatic[index], 1)))
    result = {"max_wrong": max_wrong, "confidence": confidence, "draws": draws, "promised": len(seen) / draws}
    if seen:
        result["automatic"] = sum(automatic for automatic, _ in seen) / len(seen)
        result["wrong"] = sum(wrong for _, wrong in seen) / len(seen)
        result["broken"] = sum(wrong > max_wrong for _, wrong in seen) / len(seen)
    return result


def remember(path: str | Path, examples: Examples) -> Curve:
    """Measure the curve of a model folder and write it into its calibration.json; other keys stay.

    Args:
        path: A model folder on this machine.
        examples: Labelled messages that neither the model nor its temperatures were fitted to.

    Raises:
        ClassifierError: There is no such folder, or `Curve.measure` cannot count; nothing is written.
    """
    from .predict import Classifier  # it is no part of deciding

    classifier = Classifier.load(Path(path))
    curve = Curve.measure(classifier.policy, labelled(classifier, examples))
    file = Path(path) / CALIBRATION
    kept = read_json(file) if file.is_file() else {}
    write_json(file, {**kept, "automation": {**curve.to_dict(), "policy": fingerprint(classifier.policy)}})
    return curve


def remembered(path: Path, policy: Policy) -> Curve | None:
    """The curve that a model folder holds for a policy, whatever confidence that asks for; None where it has none.

    Args:
        path: A model folder.
        policy: What routes.

    Raises:
        ClassifierError: The curve is of another version.
    """
    found = read_json(path / CALIBRATION).get("automation") if (path / CALIBRATION).is_file() else None
    return Curve.from_dict(found) if found and found.get("policy") == fingerprint(policy) else None


def promise(path: str | Path, curve: Curve, max_wrong: float, confidence: float = 0.95) -> Choice:
    """Choose a level for a model folder and write it into its policy.

    Args:
        path: A model folder on this machine.
        curve: What `remember` measured with it.
        max_wrong: Greatest share of wrong automatic answers.
        confidence: How sure that must be.

    Raises:
        ClassifierError: The messages cannot support the promise; nothing is written.
    """
    choice = curve.choose(max_wrong, confidence)
    write_json(Path(path) / POLICY, at_level(ModelFolder.read(path).policy, choice.level).to_dict())
    return choice


def fingerprint(policy: Policy) -> str:
    """What a curve depends on: a hash of what decides actions, apart from the confidence thresholds."""
    aside = ("version", "queues", "default_queue", "priorities")
    rest = {key: value for key, value in at_level(policy, 0.0).to_dict().items() if key not in aside}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:16]
