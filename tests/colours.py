"""A small task set that can be learnt, messages for it, and settings to train on them."""

import numpy as np
from conftest import make_tokenizer

from classifier.batches import Epoch
from classifier.settings import TrainSettings
from classifier.tasks import TaskSet

COLOURS = {"name": "colours", "title": "Colours", "mood_task": "mood", "tasks": [
    {"name": "colour", "question": "?", "labels": [{"name": "red"}, {"name": "blue"}, {"name": "green"}]},
    {"name": "mood", "question": "?", "labels": [{"name": "fine", "tone": "good"}, {"name": "cross", "tone": "bad"}]},
]}  # fmt: skip


def rows(count, seed=0):
    """Messages whose labels can be learnt: a word decides each."""
    rng = np.random.default_rng(seed)
    colours = {"red": "card", "blue": "refund", "green": "order"}
    moods = {"fine": "please", "cross": "urgent"}
    for _ in range(count):
        colour, mood = rng.choice(list(colours)), rng.choice(list(moods))
        filler = "".join(rng.choice(list("abcdefghij"), 3))
        padding = rng.choice(["my", "the", "hours", "log", "in"], rng.integers(1, 9))
        words = [colours[colour], moods[mood], filler, *padding]
        rng.shuffle(words)
        yield {"text": " ".join(words), "colour": str(colour), "mood": str(mood)}


def settings(world, out, **values):
    return TrainSettings.build(
        {"tasks": str(world / "tasks.json"), "data": [{"path": str(world / "data.jsonl")}], "base": str(world / "base"),
         "out": out, "max_tokens": 24, "epochs": 2, "batch_size": 16, "learning_rate": 1e-2, "precision": "fp32"},
        values,
    )  # fmt: skip


def task_set():
    return TaskSet.from_dict(COLOURS)


def one_batch(found, chosen):
    return Epoch(found, task_set(), make_tokenizer(), chosen, 0).batch(0)
