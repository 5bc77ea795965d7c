import gzip
import json

import numpy as np
import pytest
from conftest import SHARED, make_tokenizer

from classifier.__main__ import main
from classifier.errors import ClassifierError
from classifier.examples import MISSING
from classifier.standards import load_standard


def write_split(folder, name, rows):
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def small_clinc(tmp_path):
    """Two intents and messages of neither, in the files of CLINC150."""
    rng = np.random.default_rng(0)
    words = {"refund": ["refund", "order", "cancel"], "access": ["log", "account", "urgent"], "oos": ["hours", "what"]}
    for name, size in (("train", 40), ("validation", 12), ("test", 12)):
        rows = [
            {"text": " ".join(rng.choice(vocabulary, 4)), "intent": intent}
            for intent, vocabulary in words.items()
            for _ in range(size)
        ]
        write_split(tmp_path / "clinc150", name, rows)
    return tmp_path


def test_the_official_splits_are_read_whole():
    if not (SHARED / "data/clinc150").is_dir():
        pytest.skip(f"CLINC150 is not at {SHARED / 'data'}")
    standard = load_standard("clinc150", SHARED / "data")
    assert len(standard.tasks.task("intent").labels) == 150
    assert [len(part) for part in (standard.train, standard.validation, standard.test)] == [15250, 3100, 5500]
    assert (standard.test.labels["intent"] == MISSING).sum() == standard.test.labels["scope"].sum() == 1000


def test_an_unknown_benchmark_is_a_clear_error():
    with pytest.raises(ClassifierError, match="no benchmark 'x'; choose one of clinc150, banking77"):
        load_standard("x")


def test_the_command_trains_and_scores_the_test_split(small_clinc, tiny_model, tmp_path, capsys):
    base = tmp_path / "encoder"
    tiny_model.distilbert.save_pretrained(base)
    make_tokenizer().save(str(base / "tokenizer.json"))
    command = ["evaluate", "--suite", "clinc150", "--base", str(base), "--source", str(small_clinc)]
    command += ["--out", str(tmp_path / "run"), "--set", "epochs=8", "--set", "precision=fp32", "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["test"]["intent"]["n"] == 24
    assert found["test"]["intent"]["accuracy"] > 0.8
    detectors = found["outliers"]["detectors"]
    best = max(detectors, key=lambda name: detectors[name]["validation"]["auroc"])
    assert detectors[found["outliers"]["chosen"]]["validation"]["auroc"] == detectors[best]["validation"]["auroc"]
    assert detectors["scope head"]["test"]["n"] == 36
    assert {
        "random",
        "majority",
        "keyword rules",
        "TF-IDF + logistic regression",
        "frozen encoder + logistic regression",
    } == set(found["baselines"])


def test_a_setting_without_a_value_is_a_clear_error(capsys):
    assert main(["evaluate", "--suite", "seed", "--set", "epochs"]) == 2
    assert "has no value; expected NAME=VALUE" in capsys.readouterr().err
