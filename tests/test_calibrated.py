import numpy as np
import pytest
from scipy.special import softmax

from classifier.calibrated import CalibratedSoftmax
from classifier.tasks import Label, Task, TaskSet

SIZES, TEMPERATURES = {"one": 2, "two": 5, "three": 3}, {"one": 0.7, "two": 1.0, "three": 2.5}


def test_every_task_has_the_softmax_of_its_own_logits_and_temperature():
    tasks = TaskSet(
        "t", "T", tuple(Task(name, "?", tuple(Label(f"{name}_{n}") for n in range(SIZES[name]))) for name in SIZES)
    )
    rng = np.random.default_rng(0)
    # A task's logits far above another's must not wash that one out.
    logits = [
        (rng.normal(0, 4, (7, size)) + 200 * place).astype(np.float32) for place, size in enumerate(SIZES.values())
    ]
    rows = list(CalibratedSoftmax(tasks, TEMPERATURES)(logits))
    assert len(rows) == 7
    for name, values in zip(SIZES, logits, strict=True):
        expected = softmax(values.astype(np.float64) / TEMPERATURES[name], axis=1)
        for row, shares in zip(rows, expected, strict=True):
            assert list(row[name]) == [f"{name}_{n}" for n in range(SIZES[name])]
            assert list(row[name].values()) == pytest.approx(shares, abs=1e-5)
