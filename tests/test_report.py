import json

import numpy as np
import pytest

from classifier.__main__ import main
from classifier.examples import MISSING
from classifier.report import error_patterns


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("it doesn't work", "negation"),
        ("i paid but got nothing", "contrast"),
        ("slower than before", "comparison"),
        ("WHERE IS my MONEY", "capitals"),
        ("oh great, broken again after a week of waiting", "sarcasm marks"),
        ("i love the design of it, but the battery is broken", "mixed signals"),
        ("help me", "very short"),
    ],
)
def test_each_pattern_finds_its_messages(text, pattern):
    texts = [text, "please tell me when the shop near the station opens on sundays"]
    found = error_patterns(texts, np.array([0, 0]), np.array([1, 0]), ("a", "b"))
    assert found[pattern]["n"] == found[pattern]["errors"] == 1
    assert found[pattern]["examples"] == [{"text": text, "truth": "b", "answer": "a"}]
    assert found["all messages"]["rate"] == 0.5


def test_messages_without_a_label_are_in_no_pattern():
    found = error_patterns(["no", "not"], np.array([0, 0]), np.array([MISSING, 0]), ("a", "b"))
    assert (found["negation"]["n"], found["negation"]["errors"]) == (1, 0)


def test_the_command_writes_a_report_with_plots(tiny_folder, tmp_path, capsys):
    rows = [
        {"text": "i was charged twice | again", "intent": "billing_issue", "action": "escalate_to_human"},
        {"text": "what are the hours", "intent": "general_question"},
    ]
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "report"
    command = ["evaluate", "--model", str(tiny_folder), "--data", str(file), "--noisy", "--report", str(out), "--json"]
    assert main(command) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["overall"]["robustness"]["intent"].keys() == {"clean", "noisy", "gap"}
    assert printed["overall"]["latency_ms"]["median"] > 0
    written = json.loads((out / "report.json").read_text())
    assert written["intent"] == printed["intent"]
    assert written["overall"]["patterns"]["intent"]["all messages"]["n"] == 2
    markdown = (out / "report.md").read_text()
    for task in ("intent", "action"):
        assert f"![confusion matrix and calibration]({task}.png)" in markdown
        assert (out / f"{task}.png").read_bytes().startswith(b"\x89PNG")
    assert not (out / "urgency.png").exists()
    tables = [line for line in markdown.splitlines() if line.startswith("| all messages")]
    assert len(tables) == 2 and {line.count("|") for line in tables} == {6}


@pytest.mark.parametrize("words", [[], ["--data", "x.jsonl", "--suite", "seed"]])
def test_evaluate_takes_either_data_or_a_suite(words, capsys):
    assert main(["evaluate", *words]) == 2
    assert "either --data" in capsys.readouterr().err


def test_baselines_learn_from_other_messages_and_stand_in_the_report(tiny_folder, tmp_path, capsys):
    rows = [{"text": f"refund my order {n}", "intent": "refund_request"} for n in range(5)]
    rows += [{"text": f"what are your hours {n}", "intent": "general_question"} for n in range(5)]
    train, check = tmp_path / "train.jsonl", tmp_path / "check.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    check.write_text("".join(json.dumps(row | {"text": row["text"] + " please"}) + "\n" for row in rows[:7]))
    command = ["evaluate", "--model", str(tiny_folder), "--data", str(check), "--against", str(train)]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["overall"]["baselines"]
    assert list(found) == ["random", "majority", "keyword rules", "TF-IDF + logistic regression"]
    assert found["TF-IDF + logistic regression"]["intent"]["accuracy"] == 1
    assert main([*command, "--report", str(tmp_path / "report")]) == 0
    assert "| keyword rules | 100.0 % (" in (tmp_path / "report" / "report.md").read_text()
