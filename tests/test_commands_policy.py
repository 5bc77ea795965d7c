import json

import pytest

from classifier.__main__ import main
from classifier.automation import remembered
from classifier.desks import SUPPORT
from classifier.folder import ModelFolder, read_json
from classifier.policy import Policy


@pytest.fixture
def policy_file(tmp_path):
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(Policy.for_tasks(SUPPORT).changed(always_escalate=["refund"]).to_dict()))
    return file


def test_scored_files_are_decided_again_without_the_model(tiny_folder, tmp_path, policy_file, capsys, monkeypatch):
    messages = tmp_path / "in.csv"
    messages.write_text('text\nplease refund my card\n""\nwhat are the hours\n')
    assert main(["score", str(messages), "-o", str(tmp_path / "out.csv"), "--model", str(tiny_folder), "--quiet"]) == 0
    monkeypatch.setattr("classifier.predict.Classifier.load", None)
    capsys.readouterr()
    assert main(["route", str(tmp_path / "out.csv"), "--policy", str(policy_file)]) == 0
    out, err = capsys.readouterr()
    routes = [json.loads(line) for line in out.splitlines()]
    assert routes[0]["route"]["reasons"][0]["code"] == "always_escalate"
    assert all(row["before"] for row in routes)
    assert f"{len(routes)} results" in err


def test_results_of_classify_are_decided_again(tiny_folder, tmp_path, policy_file, capsys):
    assert main(["classify", "help me", "--model", str(tiny_folder), "--json"]) == 0
    file = tmp_path / "results.jsonl"
    file.write_text(capsys.readouterr().out)
    assert main(["route", str(file), "--policy", str(policy_file)]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["route"]["policy"] == Policy.for_tasks(SUPPORT).version
    assert row["before"] == json.loads(file.read_text())["route"]["action"]


@pytest.mark.parametrize(
    ("header", "row"),
    [("customer_message,city", "please refund my card,Rome"), ("ticket,text", "no 17 of May,please refund my card")],
)
def test_the_text_column_is_the_one_that_was_scored(tiny_folder, tmp_path, policy_file, capsys, header, row):
    source, once, twice = tmp_path / "in.csv", tmp_path / "once.csv", tmp_path / "twice.csv"
    source.write_text(f"{header}\n{row}\n")
    for before, after in ((source, once), (once, twice)):
        assert main(["score", str(before), "-o", str(after), "--model", str(tiny_folder), "--quiet"]) == 0
        capsys.readouterr()
        assert main(["route", str(after), "--policy", str(policy_file)]) == 0
        (found,) = map(json.loads, capsys.readouterr().out.splitlines())
        assert found["route"]["reasons"][0]["code"] == "always_escalate" and found["before"]


def test_a_cut_off_cell_is_named(tmp_path, policy_file, capsys):
    (tmp_path / "in.csv").write_text('text,probabilities\nhello there,"{""intent"": {""re"\n')
    assert main(["route", str(tmp_path / "in.csv"), "--policy", str(policy_file)]) == 2
    assert "row 1" in capsys.readouterr().err


def test_files_without_probabilities_are_refused(tmp_path, policy_file, capsys):
    (tmp_path / "in.csv").write_text("text,urgency\nhello there,low\n")
    assert main(["route", str(tmp_path / "in.csv"), "--policy", str(policy_file)]) == 2
    assert "has no column 'probabilities'" in capsys.readouterr().err
    assert main(["route", str(tmp_path / "none.csv"), "--policy", str(policy_file)]) == 2


def test_results_of_another_desk_are_refused(tmp_path, policy_file, capsys):
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": "hello", "probabilities": {"size": {"big": 1.0}}}) + "\n")
    assert main(["route", str(tmp_path / "in.jsonl"), "--policy", str(policy_file)]) == 2
    assert "use results of the desk that the policy is for" in capsys.readouterr().err


def test_explain_prints_a_weight_for_every_word_and_task(tiny_folder, capsys):
    assert main(["explain", "please refund my card", "--model", str(tiny_folder)]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("please", "refund", "my", "card", "intent:", "scope:"))
    assert main(["explain", "please refund my card", "--model", str(tiny_folder), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["words"]) == 4


def test_explain_reports_faithfulness(tiny_folder, tmp_path, capsys):
    file = tmp_path / "messages.csv"
    file.write_text("text\n" + "\n".join(f"please refund card {n} now" for n in range(6)))
    assert main(["explain", "--report", str(file), "--messages", "3", "--model", str(tiny_folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {figure["n"] for figure in report["faithfulness"].values()} == {3}
    assert report["latency"] is None  # no message has 20 words
    file.write_text("text\n" + "please refund my card now " * 4 + "\nplease refund my card\n")
    assert main(["explain", "--report", str(file), "--model", str(tiny_folder)]) == 0
    assert "A message of 20 words is explained in" in capsys.readouterr().out


@pytest.fixture
def labelled_file(tmp_path):
    """Messages that a person always had to see, and as many that nobody had to."""
    rows = [{"text": f"card {n}", "action": "auto_resolve"} for n in range(60)]
    file = tmp_path / "labelled.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


@pytest.fixture
def open_policy(own_folder):
    """Nearly everything is automatic in this folder, so that the random model is, too."""
    policy = Policy.for_tasks(SUPPORT).changed(rules=[], priorities=[], costs={}, automatic_lead=0.0).to_dict()
    policy |= {"automatic": ["auto_resolve", "request_more_info"], "unsure": "escalate_to_human"}
    policy["costs"] = {a: {b: float(a == "escalate_to_human") for b in policy["actions"]} for a in policy["actions"]}
    policy["automatic_needs"] = {"sentiment": 0.5}
    (own_folder / "policy.json").write_text(json.dumps(policy))


def test_automation_refuses_what_the_messages_cannot_promise(own_folder, open_policy, labelled_file, capsys):
    args = ["automation", "--data", str(labelled_file), "--model", str(own_folder), "--max-wrong", "0.001"]
    assert main(args) == 2
    assert "from 60 labelled messages" in capsys.readouterr().err.replace("on 60", "from 60")


def test_calibrate_writes_a_level_that_keeps_the_promise(own_folder, open_policy, labelled_file, capsys):
    args = ["calibrate", "--data", str(labelled_file), "--model", str(own_folder), "--max-wrong", "0.3", "--json"]
    assert main(args) == 0
    assert "30.0% of automatic answers are wrong" in capsys.readouterr().err
    level = ModelFolder.read(own_folder).policy.automatic_needs["sentiment"]
    curve = read_json(own_folder / "calibration.json")["automation"]
    assert curve["n"] == 40  # the other 20 fitted the temperatures
    assert level in curve["levels"]
    assert remembered(own_folder, ModelFolder.read(own_folder).policy).n == 40


def test_calibrate_stores_the_curve_without_a_promise_and_leaves_the_policy(
    own_folder, open_policy, labelled_file, capsys
):
    before = (own_folder / "policy.json").read_bytes()
    assert main(["calibrate", "--data", str(labelled_file), "--model", str(own_folder)]) == 0
    assert "on 40 other messages" in capsys.readouterr().err
    policy = ModelFolder.read(own_folder).policy
    assert remembered(own_folder, policy).n == 40
    assert remembered(own_folder, policy.changed(always_escalate=["refund"])) is None  # it was counted without
    assert (own_folder / "policy.json").read_bytes() == before


def test_calibrate_without_the_labels_of_a_curve_uses_all_messages_for_temperatures(own_folder, tmp_path, capsys):
    file = tmp_path / "labelled.jsonl"
    file.write_text("\n".join(json.dumps({"text": f"card {n}", "urgency": "low"}) for n in range(30)))
    assert main(["calibrate", "--data", str(file), "--model", str(own_folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["urgency"]["n"] == 30
    assert "automation" not in read_json(own_folder / "calibration.json")


def test_the_curve_shows_promise_and_what_happened(own_folder, open_policy, labelled_file, capsys):
    args = ["automation", "--data", str(labelled_file), "--model", str(own_folder), "--max-wrong", "0.3"]
    assert main([*args, "--halves", "3"]) == 0
    assert "Chosen on one half, counted on the other" in capsys.readouterr().out
    assert main([*args, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["choice"]["wrong"] == 0


def test_calibrate_counts_on_messages_of_their_own(own_folder, open_policy, labelled_file, capsys):
    file = str(labelled_file)
    assert main(["calibrate", "--data", file, "--count", file, "--model", str(own_folder), "--json"]) == 0
    assert {task["n"] for task in json.loads(capsys.readouterr().out).values()} == {60}
    assert read_json(own_folder / "calibration.json")["automation"]["n"] == 60
