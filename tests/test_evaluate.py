import json

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support, roc_auc_score

from classifier.__main__ import main
from classifier.errors import ClassifierError
from classifier.evaluate import OVERALL, bootstrap, business_cost, calibration_error, evaluate
from classifier.examples import MISSING
from classifier.folder import ONNX_FLOAT
from classifier.tasks import Label, Task, TaskSet

TASKS = TaskSet(
    "fruit",
    "Fruit",
    (
        Task("kind", "Which?", (Label("apple"), Label("pear"), Label("plum"))),
        Task("ripe", "Is it ripe?", (Label("no"), Label("yes"))),
    ),
)


def noisy_answers(n=400, seed=3):
    rng = np.random.default_rng(seed)
    labels = {"kind": rng.integers(3, size=n), "ripe": rng.integers(2, size=n)}
    shares = {}
    for task in TASKS.tasks:
        logits = rng.normal(size=(n, len(task.labels))) + 1.5 * np.eye(len(task.labels))[labels[task.name]]
        shares[task.name] = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return shares, labels


def test_scores_are_those_of_scikit_learn():
    shares, labels = noisy_answers()
    found = evaluate(shares, labels, TASKS)["kind"]
    predicted = shares["kind"].argmax(1)
    assert found["n"] == 400
    assert found["accuracy"] == pytest.approx((predicted == labels["kind"]).mean())
    assert found["macro_f1"] == pytest.approx(f1_score(labels["kind"], predicted, average="macro"))
    assert found["weighted_f1"] == pytest.approx(f1_score(labels["kind"], predicted, average="weighted"))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(labels["kind"], shares["kind"], multi_class="ovr"))
    assert sum(map(sum, found["confusion"])) == 400
    assert found["worst"] == min(found["labels"], key=lambda label: found["labels"][label]["f1"])


def test_classes_have_the_scores_of_scikit_learn_and_intervals_around_them():
    shares, labels = noisy_answers()
    found = evaluate(shares, labels, TASKS)["kind"]["labels"]
    expected = precision_recall_fscore_support(labels["kind"], shares["kind"].argmax(1))
    for place, scores in enumerate(found.values()):
        assert scores["n"] == expected[3][place]
        for score, values in zip(("precision", "recall", "f1"), expected[:3], strict=True):
            low, high = scores["intervals"][score]
            assert scores[score] == pytest.approx(values[place]) and low < scores[score] < high


def test_a_class_that_never_occurs_has_no_interval():
    shares = {"kind": np.eye(3)[[0, 1, 1, 0]], "ripe": np.eye(2)[[0, 1, 1, 0]]}
    found = evaluate(shares, {"kind": np.array([0, 1, 0, 0]), "ripe": np.full(4, MISSING)}, TASKS)["kind"]["labels"]
    plum = list(found.values())[2]
    assert (plum["precision"], plum["recall"], plum["f1"], plum["n"]) == (0, 0, 0, 0)
    assert plum["intervals"] == {"precision": [], "recall": [], "f1": []}


def test_tied_scores_count_half_in_the_roc_area():
    shares = {"ripe": np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.8], [0.9, 0.1]])}
    labels = {"kind": np.full(4, MISSING), "ripe": np.array([0, 1, 1, 0])}
    found = evaluate(shares, labels, TASKS)["ripe"]
    assert found["roc_auc"] == pytest.approx(roc_auc_score(labels["ripe"], shares["ripe"][:, 1]))


def test_the_interval_holds_the_value_and_narrows_with_more_messages():
    small, large = (evaluate(*noisy_answers(n), TASKS)["ripe"] for n in (60, 3000))
    for found in (small, large):
        for name, (low, high) in found["intervals"].items():
            assert low < high, name
        assert found["interval"][0] < found["accuracy"] < found["interval"][1]
    width = {id(found): found["interval"][1] - found["interval"][0] for found in (small, large)}
    assert width[id(large)] < width[id(small)] / 4
    # The binomial interval of 3,000 messages, for comparison.
    p = large["accuracy"]
    assert width[id(large)] == pytest.approx(2 * 1.96 * np.sqrt(p * (1 - p) / 3000), rel=0.15)


def test_the_same_seed_gives_the_same_intervals():
    answers = noisy_answers()
    assert evaluate(*answers, TASKS, seed=1) == evaluate(*answers, TASKS, seed=1)
    assert (
        evaluate(*answers, TASKS, seed=1)["kind"]["interval"] != evaluate(*answers, TASKS, seed=2)["kind"]["interval"]
    )


def test_missing_labels_are_left_out_per_task():
    shares, labels = noisy_answers()
    labels["kind"][:100] = MISSING
    labels["ripe"][50:] = MISSING
    found = evaluate(shares, labels, TASKS)
    assert (found["kind"]["n"], found["ripe"]["n"]) == (300, 50)
    assert found[OVERALL]["all_right"] is None
    labels["ripe"][:200] = 0
    assert evaluate(shares, labels, TASKS)[OVERALL]["all_right"]["n"] == 100


def test_a_label_that_never_occurs_has_no_roc_area_and_is_not_the_worst():
    shares, labels = noisy_answers()
    labels["kind"][labels["kind"] == 2] = 0
    found = evaluate(shares, labels, TASKS)["kind"]
    assert found["roc_auc"] is None and "roc_auc" not in found["intervals"]
    assert found["worst"] != "plum"


def test_no_labels_at_all_is_a_clear_error():
    shares, labels = noisy_answers(5)
    with pytest.raises(ClassifierError, match="No message has a label of kind, ripe"):
        evaluate(shares, {task: np.full(5, MISSING) for task in labels}, TASKS)


def test_calibration_error_of_known_answers():
    confidence = np.array([0.9] * 10 + [0.6] * 10)
    right = np.array([True] * 9 + [False] + [True] * 3 + [False] * 7)
    assert calibration_error(confidence, right) == pytest.approx(0.15)


def test_cost_reads_the_table_and_charges_one_for_what_it_leaves_out():
    costs = {"yes": {"no": 10}}
    found = business_cost(np.array([1, 0, 1, 0]), np.array([0, 1, 1, 0]), ["no", "yes"], costs)
    assert found.tolist() == [10, 1, 0, 0]


def test_the_bootstrap_skips_resamples_without_a_score():
    def sometimes(weights):
        return np.where(weights[:, :1] > 0, weights[:, :1], np.nan)

    values, ((low, high),) = bootstrap(sometimes, 5, np.random.default_rng(0))
    assert values == [1] and 1 <= low < high


def test_the_command_scores_a_folder_as_json(tiny_folder, tmp_path, capsys):
    file = tmp_path / "data.jsonl"
    rows = [
        {"text": "i was charged twice", "intent": "billing_issue", "action": "escalate_to_human"},
        {"text": "what are the hours", "intent": "general_question"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["evaluate", "--model", str(tiny_folder), "--data", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"accuracy", "macro_f1", "ece", "n", "interval"} <= found["intent"].keys()
    assert found["intent"]["n"] == 2 and found["action"]["n"] == 1 and "urgency" not in found
    assert found[OVERALL]["cost"]["costs"]["escalate_to_human"]["auto_resolve"] == 10
    assert main(["evaluate", "--model", str(tiny_folder), "--data", str(file)]) == 0
    assert "| intent | 2 |" in capsys.readouterr().out
    file = tmp_path / "mapped.csv"
    file.write_text("message,intent\nhelp,general_question\n")
    mapped = ["evaluate", "--model", str(tiny_folder), "--data", str(file)]
    assert main(mapped) == 2 and "map it with --column" in capsys.readouterr().err
    assert main([*mapped, "--column", "text=message"]) == 0


def test_the_float_file_is_scored_on_request(own_folder, tmp_path, capsys):
    file = tmp_path / "data.jsonl"
    file.write_text(json.dumps({"text": "help", "intent": "general_question"}) + "\n")
    command = ["evaluate", "--model", str(own_folder), "--data", str(file), "--backend", "onnx-fp32"]
    assert main(command) == 0
    (own_folder / ONNX_FLOAT).unlink()
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "no ONNX file for onnx-fp32" in error and "--float" in error


def test_evaluating_loads_no_torch(tiny_folder, tmp_path):
    import subprocess
    import sys

    file = tmp_path / "data.jsonl"
    file.write_text(json.dumps({"text": "help", "intent": "general_question"}) + "\n")
    code = (
        "import sys; from classifier.__main__ import main; "
        f"main(['evaluate', '--model', {str(tiny_folder)!r}, '--data', {str(file)!r}, '--json']); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
