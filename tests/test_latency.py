import pytest

from classifier.latency import LatencyWindow


def test_figures_rest_on_the_answers_counted():
    window = LatencyWindow()
    for total in range(1, 101):
        summary = window.add({"total": float(total)})
    assert summary.count == 100
    assert summary.median == pytest.approx(50.5)
    assert summary.p95 == pytest.approx(95.05)


def test_old_answers_are_forgotten():
    window = LatencyWindow(size=3)
    for total in (900.0, 1.0, 2.0, 3.0):
        summary = window.add({"total": total})
    assert (summary.count, summary.median) == (3, 2.0)
