import gzip
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

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
