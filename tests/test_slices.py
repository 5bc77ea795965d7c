import json

import pytest

from classifier.__main__ import main
from classifier.data import read_examples
from classifier.errors import ClassifierError
from classifier.evaluate import OVERALL, evaluate, score
from classifier.predict import Classifier
from classifier.slices import by_value, read_values, slices_table

ROWS = [
    {"text": "refund my order", "intent": "refund_request", "source": "mail"},
    {"text": "what are your hours", "intent": "general_question", "source": "chat|web"},
    {"text": "   ", "intent": "general_question", "source": "chat|web"},
    {"text": "cancel and refund it", "intent": "refund_request", "action": "escalate_to_human", "source": "mail"},
    {"text": "no label here", "source": "phone"},
    {"text": "no source here", "intent": "billing_issue"},
]


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


def test_each_part_has_the_scores_that_it_would_have_alone(tiny_folder, table):
    classifier = Classifier.load(tiny_folder)
    examples, values = read_examples(table, classifier.tasks), read_values(table, "source")
    assert values == ["mail", "chat|web", "mail", "phone", ""]
    found = by_value(classifier, examples, values)
    assert list(found) == ["mail", "", "chat|web"]  # the largest first; nothing is known of the phone
    alone = examples.take([0, 2])
    scores = evaluate(score(classifier, alone.texts), alone.labels, classifier.tasks, policy=classifier.policy)
    assert found["mail"] == {
        "n": 2,
        "accuracy": {"intent": scores["intent"]["accuracy"], "action": scores["action"]["accuracy"]},
        "all_right": scores[OVERALL]["all_right"],
    }
    assert found["mail"]["all_right"]["n"] == 1
    assert found[""]["accuracy"].keys() == {"intent"}


def test_the_command_prints_a_row_for_each_value(tiny_folder, table, capsys):
    command = ["evaluate", "--model", str(tiny_folder), "--data", str(table), "--by", "source"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)[OVERALL]["by"]
    assert (found["column"], list(found["values"])) == ("source", ["mail", "", "chat|web"])
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert slices_table("source", found["values"]) in printed
    rows = [line for line in printed.splitlines() if line.startswith(("| source", "| mail", "| chat/web", "| (empty)"))]
    assert len(rows) == 4 and {row.count("|") for row in rows} == {6}


def test_a_column_must_be_there_and_tell_few_kinds_apart(tmp_path, table):
    with pytest.raises(ClassifierError, match="no column 'channel'; it has 'text', 'intent', 'source'"):
        read_values(table, "channel")
    many = tmp_path / "many.csv"
    many.write_text("text,id\n" + "".join(f"message {n},{n}\n" for n in range(101)))
    with pytest.raises(ClassifierError, match="101 different values; expected at most 100"):
        read_values(many, "id")
