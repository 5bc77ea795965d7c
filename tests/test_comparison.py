import numpy as np
import pytest
from conftest import make_model, make_tokenizer

from classifier.comparison import compare_models
from classifier.errors import ClassifierError
from classifier.examples import MISSING, Examples
from classifier.export import write_model_folder
from classifier.predict import Classifier
from classifier.tasks import Label, Task, TaskSet


def examples(classifier, known):
    """Messages with the classifier's own answers as labels, of the known tasks."""
    texts = ["please refund my card", "what are the hours", "help"]
    answers = [result.labels for result in classifier.classify_many(texts)]
    labels = {
        task.name: np.array([task.index(answer[task.name]) if task.name in known else MISSING for answer in answers])
        for task in classifier.tasks.tasks
    }
    return Examples(texts, labels, np.ones(len(texts), np.float32))


def test_only_tasks_with_labels_are_compared(classifier):
    (row,) = compare_models(classifier, classifier, examples(classifier, {"intent"}))
    assert row == {"task": "intent", "n": 3, "current": 1.0, "new": 1.0, "interval": [0.0, 0.0]}
    with pytest.raises(ClassifierError, match="No message that was held out has a label"):
        compare_models(classifier, classifier, examples(classifier, set()))


def test_models_of_other_desks_are_not_compared(classifier, tmp_path):
    tasks = TaskSet("other", "Other", (Task("intent", "?", (Label("yes"), Label("no"))),))
    samples = ["please refund my card"] * 20
    folder = write_model_folder(tmp_path, make_model(tasks), tasks, make_tokenizer(), max_tokens=24, samples=samples)
    with pytest.raises(ClassifierError, match="answers other tasks"):
        compare_models(classifier, Classifier.load(folder), examples(classifier, {"intent"}))
