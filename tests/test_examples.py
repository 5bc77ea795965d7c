import gzip
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file, save_file

from classifier.export import load_trained
from classifier.folder import WEIGHTS

EXAMPLES = Path(__file__).parents[1] / "examples"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def lines(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_labels_are_joined_with_the_texts_of_any_copy():
    join_labels = script("join_labels")
    cut = {"source": "b", "text_sha256": join_labels.text_hash("they never sent"), "words": 3, "intent": "y"}
    whole = {"source": "a", "text_sha256": join_labels.text_hash("where  is MY card"), "intent": "x"}
    lost = {"source": "a", "text_sha256": join_labels.text_hash("elsewhere"), "intent": "z"}
    found = list(join_labels.join([whole, cut, lost], ["They never sent the letter", "unknown", "Where is my card"]))
    assert found == [
        {"text": "They never sent", "source": "b", "intent": "y"},
        {"text": "Where is my card", "source": "a", "intent": "x"},
    ]


def test_the_validation_messages_of_the_embedded_model_can_be_had_again(tmp_path):
    held_out = (EXAMPLES / "data/validation.txt").read_text().split()
    assert len(held_out) == len(set(held_out)) > 2000
    table = tmp_path / "table.csv"
    table.write_text("text\nnothing that anyone labelled\n")
    out, validation = tmp_path / "public.jsonl", tmp_path / "validation.jsonl"
    assert run("join_labels", table, "-o", out, "--validation", validation).returncode == 0
    assert lines(out) == []
    hashes = {script("join_labels").text_hash(row["text"]) for row in lines(validation)}
    public = {row["text_sha256"] for file in EXAMPLES.glob("data/public_labels*.jsonl") for row in lines(file)}
    assert hashes == set(held_out) - public  # each written one, and once
    assert len(hashes) == len(lines(validation)) and {"care_posts", "noisy"} <= {
        row["source"] for row in lines(validation)
    }


def test_other_labels_are_joined_on_request(tmp_path):
    labels, table, out = tmp_path / "labels.jsonl", tmp_path / "table.csv", tmp_path / "tweets.jsonl"
    text = "@user still no train #fuming"
    row = {"source": "tweets", "text_sha256": script("join_labels").text_hash(text), "intent": "", "urgency": "medium"}
    labels.write_text(json.dumps(row) + "\n")
    table.write_text(f"text\n{text}\nelsewhere\n")
    done = run("join_labels", table, "--labels", labels, "-o", out)
    assert done.returncode == 0 and "tweets: 1 of 1" in done.stderr
    assert lines(out) == [{"text": text, "source": "tweets", "intent": "", "urgency": "medium"}]
    labels.write_text('{"text": "no hash"}')
    done = run("join_labels", table, "--labels", labels, "-o", out)
    assert done.returncode == 2 and "line 1" in done.stderr and "expected JSON with text_sha256" in done.stderr
    done = run("join_labels", table, "--labels", labels, "-o", out, "--validation", out)
    assert done.returncode == 2 and "needs the default labels" in done.stderr


@pytest.mark.parametrize(("name", "rows"), [("tweet_labels", 767), ("dev_labels", 320)])
def test_no_weight_was_trained_on_the_labels_of_a_test(name, rows):
    tests = lines(EXAMPLES / f"data/{name}.jsonl")
    hashes = {row["text_sha256"] for row in tests}
    assert len(hashes) == len(tests) == rows
    trained = (row["text"] for file in EXAMPLES.glob("data/support*.jsonl") for row in lines(file))
    assert hashes.isdisjoint(map(script("join_labels").text_hash, trained))
    assert hashes.isdisjoint(row["text_sha256"] for file in EXAMPLES.glob("data/public_*.jsonl") for row in lines(file))


def test_clinc150_becomes_a_table_of_scope(tmp_path):
    table, out = tmp_path / "test.jsonl.gz", tmp_path / "scope.jsonl"
    rows = [
        ("where is my order", "order_status"),
        ("tell me a joke", "tell_joke"),
        ("how tall is a giraffe", "oos"),
        ("turn the lights off", "smart_home"),
    ]
    with gzip.open(table, "wt") as file:
        file.writelines(json.dumps({"text": text, "intent": intent}) + "\n" for text, intent in rows)
    assert run("clinc150_scope", table, "-o", out).returncode == 0
    assert [(row["scope"], row["kind"]) for row in lines(out)] == [
        ("in_scope", "support"),
        ("out_of_scope", "chit-chat"),
        ("out_of_scope", "out of scope"),
    ]


@pytest.mark.parametrize(("content", "said"), [('{"text": "a", "label": "b"}', "no column 'intent'"), ("", "empty")])
def test_a_table_that_is_not_clinc150_is_refused(tmp_path, content, said):
    table = tmp_path / "table.jsonl"
    table.write_text(content)
    done = run("clinc150_scope", table, "-o", tmp_path / "out.jsonl")
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_the_intents_of_the_scope_table_are_those_of_clinc150():
    file = Path(__file__).parents[2] / "shared/data/clinc150/domains.json"
    if not file.is_file():
        pytest.skip("needs CLINC150's list of intents")
    domains = json.loads(file.read_text())
    module = script("clinc150_scope")
    support = module.SUPPORT.split()
    assert len(support) == len(set(support)) and set(support) <= {name for names in domains.values() for name in names}
    assert {*domains["banking"], *domains["credit_cards"]} <= set(support)
    assert sorted(module.CHIT_CHAT.split()) == sorted(domains["small_talk"])


def test_weights_are_averaged_by_their_shares(own_folder, tmp_path):
    other, mean = tmp_path / "other", tmp_path / "mean"
    shutil.copytree(own_folder, other)
    before = load_file(own_folder / WEIGHTS)
    save_file({key: value + 1 for key, value in before.items()}, other / WEIGHTS, metadata={"format": "pt"})
    assert run("average_weights", f"{own_folder}:0.75", f"{other}:0.25", "-o", mean).returncode == 0
    after = load_file(mean / WEIGHTS)
    assert all(torch.allclose(after[key], value + 0.25, atol=1e-6) for key, value in before.items())
    assert not (mean / "onnx").exists() and not (mean / "calibration.json").exists()
    load_trained(mean)
    done = run("average_weights", f"{own_folder}:0.75", f"{other}:0.75", "-o", tmp_path / "more")
    assert done.returncode == 2 and "add up to 1.5" in done.stderr
    done = run("average_weights", str(own_folder), "-o", tmp_path / "more")
    assert done.returncode == 2 and "has no share" in done.stderr
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "pooling": "first"}))
    done = run("average_weights", f"{own_folder}:0.75", f"{other}:0.25", "-o", tmp_path / "more")
    assert done.returncode == 2 and "differs" in done.stderr and "pooling" in done.stderr
