import numpy as np

from classifier.baselines import baselines
from classifier.examples import MISSING, Examples
from classifier.tasks import Label, Task, TaskSet

TASKS = TaskSet(
    "fruit",
    "Fruit",
    (
        Task("kind", "Which?", (Label("apple"), Label("pear"), Label("plum"))),
        Task("ripe", "Is it ripe?", (Label("no"), Label("yes"))),
    ),
)


def examples():
    texts = ["a red apple", "my apple pie", "an apple", "green pear", "the pear tree", "pears"] * 5
    kind = np.array([0, 0, 0, 1, 1, 1] * 5)
    return Examples(texts, {"kind": kind, "ripe": np.full(len(texts), MISSING)})


def test_the_baselines_give_probabilities_for_every_labelled_task():
    found = baselines(examples(), ["apple juice", "pear juice"], TASKS)
    assert list(found) == ["random", "majority", "keyword rules", "TF-IDF + logistic regression"]
    for shares in found.values():
        assert list(shares) == ["kind"]
        assert shares["kind"].shape == (2, 3)
        np.testing.assert_allclose(shares["kind"].sum(1), 1)


def test_the_linear_baseline_learns_words_and_leaves_unseen_labels_at_zero():
    shares = baselines(examples(), ["apple juice", "pear juice"], TASKS)["TF-IDF + logistic regression"]["kind"]
    assert shares.argmax(1).tolist() == [0, 1]
    assert not shares[:, 2].any()


def test_the_majority_baseline_has_the_shares_of_the_training_labels():
    train = examples()
    train.labels["kind"][:3] = 2
    shares = baselines(train, ["x"], TASKS)["majority"]["kind"]
    np.testing.assert_allclose(shares[0], [12 / 30, 15 / 30, 3 / 30])


def test_one_label_needs_no_classifier():
    train = examples()
    train.labels["kind"][:] = 1
    assert baselines(train, ["apple"], TASKS)["TF-IDF + logistic regression"]["kind"].tolist() == [[0, 1, 0]]


def test_keyword_rules_count_words_and_fall_back_on_the_most_frequent_label():
    train = examples()
    train.labels["kind"][3] = MISSING  # one pear less: apples are the most frequent
    shares = baselines(train, ["an apple and a pear, an apple", "pear tree", "nothing known"], TASKS)["keyword rules"]
    assert shares["kind"].argmax(1).tolist() == [0, 1, 0]
    assert not shares["kind"][:, 2].any()


def test_messages_without_a_repeated_word_have_no_keywords():
    train = Examples(["apple", "pear"], {"kind": np.array([0, 1]), "ripe": np.full(2, MISSING)})
    assert baselines(train, ["apple"], TASKS)["keyword rules"]["kind"].tolist() == [[0.5, 0.5, 0.0]]
