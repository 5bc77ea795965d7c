import numpy as np
import pytest

from classifier.examples import MISSING
from classifier.outliers import detectors, outlier_scores


def clusters(n=200, seed=0):
    """Two clusters of known messages, and some far from both."""
    rng = np.random.default_rng(seed)
    centres = np.array([[5, 0, 0, 0], [0, 5, 0, 0], [0, 0, 5, 5]])
    labels = rng.integers(3, size=n)
    return centres[labels] + rng.normal(size=(n, 4)) * 0.5, np.where(labels == 2, MISSING, labels)


@pytest.mark.parametrize("name", ["Mahalanobis", "nearest neighbours"])
def test_distances_tell_far_messages_from_near_ones(name):
    detector = detectors(*clusters())[name]
    vectors, labels = clusters(seed=1)
    found = outlier_scores(detector(vectors, {}), labels == MISSING)
    assert found["auroc"] > 0.99 and found["fpr95"] < 0.05


def test_scores_from_logits_rise_with_doubt():
    found = detectors(*clusters())
    logits = {"intent": np.array([[9.0, 0.0], [0.3, 0.2]]), "scope": np.array([[3.0, -3.0], [-3.0, 3.0]])}
    for name in ("scope head", "max softmax", "energy"):
        sure, unsure = found[name](np.zeros((2, 4)), logits)
        assert unsure > sure, name


def test_the_share_of_false_alarms_is_taken_where_most_outliers_are_found():
    scores = np.array([0.1, 0.2, 0.6, 0.5, 0.7, 0.8])
    outliers = np.array([False, False, False, True, True, True])
    assert outlier_scores(scores, outliers) == {"auroc": pytest.approx(8 / 9), "fpr95": pytest.approx(1 / 3), "n": 6}
