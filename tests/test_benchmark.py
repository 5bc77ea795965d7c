import json

import pytest

from classifier.__main__ import main
from classifier.benchmark import run_benchmark
from classifier.errors import ClassifierError
from classifier.long_file import score_long_file
from classifier.peak import matmul_peak, operator_shares
from classifier.predict import Classifier
from classifier.windows import WINDOW

TEXTS = ["please refund my card", "help", "what are your hours please", "my order is urgent"] * 4


def test_every_way_answers_the_same_messages_with_the_same_labels(tiny_folder):
    classifier = Classifier.load(tiny_folder, backend="onnx-fp32", threads=1)
    report = run_benchmark(classifier, TEXTS, weights=str(tiny_folder), rounds=2)
    names = [speed["name"] for speed in report["speeds"]]
    assert names[0] == "torch, batches of 32 padded to 128"
    assert names[2:] == [
        "torch, one message at a time",
        "one message at a time",
        "classify_many",
        "score, CSV to CSV",
    ]
    assert [speed["label_agreement"] for speed in report["speeds"]] == [1.0] * 6
    rates = {speed["name"]: speed["messages_per_second"] for speed in report["speeds"]}
    for pair, ratio in report["times_as_fast"].items():
        ours, theirs = pair.split(" / ")
        assert ratio == pytest.approx(rates[ours] / rates[theirs], rel=0.05)
    assert report["speeds"][0]["ratio"] == 1.0
    for speed in report["speeds"]:
        first = report["speeds"][0]["messages_per_second"]
        assert speed["ratio"] == pytest.approx(speed["messages_per_second"] / first, rel=0.05)
    assert report["single_ms_while_a_file_runs"] > 0
    assert sum(report["operators"].values()) <= 1.01
    peak = report["peak"]
    assert peak["share_of_float32_peak"] == pytest.approx(
        peak["reached_gigaflops"] / peak["float32_peak_gigaflops"], abs=0.1
    )


def test_operators_of_the_quantised_graph_are_named(classifier):
    assert "MatMulIntegerToFloat" in operator_shares(classifier, TEXTS)


def test_the_peak_is_a_plausible_number():
    assert matmul_peak(False, 1, size=128, repeats=2) > 1e8


def test_the_command_prints_json_and_reads_any_table(tiny_folder, tmp_path, capsys):
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    arguments = ["benchmark", "--data", str(path), "--messages", "8", "--rounds", "1", "--json"]
    assert main([*arguments, "--model", str(tiny_folder)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["messages"] == 8
    assert {"name", "messages_per_second", "median_ms", "ratio", "label_agreement"} <= report["speeds"][0].keys()


def test_no_messages_are_refused(classifier):
    with pytest.raises(ClassifierError, match="no messages"):
        run_benchmark(classifier, [])


def test_weights_that_are_none_are_refused(classifier, tmp_path):
    with pytest.raises(ClassifierError, match="no float weights"):
        run_benchmark(classifier, TEXTS, weights=str(tmp_path))


def test_a_long_file_is_scored_to_its_end_and_checked(tiny_folder):
    texts = [f"please refund order {number}" for number in range(2 * WINDOW)]
    found = score_long_file(texts, 5000, ["--model", str(tiny_folder), "--quiet"])
    assert (found["rows"], found["errors"]) == (5000, 0)
    # The seconds are rounded to a tenth.
    assert found["seconds"] == pytest.approx(5000 / found["rows_per_second"], abs=0.06)
    assert 50 < found["peak_mebibytes"] < 1024


def test_repeated_messages_may_not_flatter_a_long_file():
    with pytest.raises(ClassifierError, match="1 different messages"):
        score_long_file(["help"] * 10_000, 10_000)
