import json

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import WORDS, make_model, make_tokenizer

from classifier.__main__ import main
from classifier.errors import ClassifierError
from classifier.export import export_folder
from classifier.folder import ONNX_FLOAT, ONNX_INT8, WEIGHTS
from classifier.graph import build_onnx
from classifier.int8 import Int8Scheme, quantise_blocks, quantise_columns, quantise_product
from classifier.observe import observe
from classifier.quantise import layer_weights
from classifier.schemes import SCHEMES, compare_schemes
from classifier.tasks import Label, Task, TaskSet
from classifier.verify import compare, verify


def messages(n, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS.split(), size=rng.integers(1, 12))) for _ in range(n)]


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = make_tokenizer()
    tokenizer.enable_truncation(32)
    return tokenizer


def batch(tokenizer, texts):
    encodings = tokenizer.encode_batch(texts)
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(e.ids) for e in encodings], batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence(
        [torch.ones(len(e.ids), dtype=torch.long) for e in encodings], batch_first=True
    )
    return ids, mask


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_the_float_graph_is_the_model_up_to_rounding(tiny_model, tokenizer, pooling):
    tiny_model.config.pooling = pooling
    found = compare(build_onnx(tiny_model).SerializeToString(), tiny_model, [batch(tokenizer, messages(64))])
    for task in found.values():
        assert task["agreement"] == 1 and task["largest_difference"] < 1e-4


def test_tasks_may_have_the_names_of_what_the_graph_holds(tokenizer):
    labels = (Label("a"), Label("b"))
    names = ("words", "first", "last", "heads", "large", "positions", "joined", "inner", "zero")
    tasks = TaskSet("own", "Own", tuple(Task(name, "?", labels) for name in names))
    model = make_model(tasks)
    for pooling in ("mean", "first"):
        model.config.pooling = pooling
        found = compare(build_onnx(model).SerializeToString(), model, [batch(tokenizer, messages(20))])
        assert set(found) == set(names)


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_static_int8_answers_a_message_alike_in_any_batch(tiny_model, tokenizer, pooling):
    tiny_model.config.pooling = pooling
    ids, mask = batch(tokenizer, messages(16))
    graph = build_onnx(tiny_model, Int8Scheme(), [(ids, mask)]).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = list(tiny_model.heads)
    together = session.run(names, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    for row in range(len(ids)):
        keep = mask[row].bool().numpy()
        alone = session.run(
            names,
            {"input_ids": ids[row : row + 1].numpy()[:, keep], "attention_mask": mask[row : row + 1].numpy()[:, keep]},
        )
        for one, many in zip(alone, together, strict=True):
            np.testing.assert_allclose(one[0], many[row], atol=2e-2)


@pytest.fixture
def wide_inputs():
    """Correlated token vectors with two channels that are far larger than the rest, and a weight."""
    rng = np.random.default_rng(0)
    inputs = (rng.normal(size=(600, 64)) @ rng.normal(size=(64, 64)) / 8).astype(np.float32)
    inputs[:, [3, 40]] *= 80
    return inputs, rng.normal(size=(64, 32)).astype(np.float32)


def test_each_part_of_the_scheme_cuts_the_error_of_a_product(wide_inputs):
    inputs, weight = wide_inputs

    def error(**scheme):
        own = Int8Scheme(**scheme)
        return quantise_product(inputs[:300], weight, np.zeros(32, np.float32), own).error(inputs[300:], weight)

    plain = error(smoothing=(None,), outliers=(0,), compensate=False)
    smooth = error(smoothing=(0.5, 0.8), outliers=(0,), compensate=False)
    apart = error(outliers=(2,), compensate=False)
    compensated = error(outliers=(2,))
    assert smooth < plain
    assert apart < smooth / 2
    assert compensated < apart


def test_the_channels_with_the_widest_range_stay_in_float(wide_inputs):
    product = quantise_product(*wide_inputs, np.zeros(32, np.float32), Int8Scheme(smoothing=(0.8,), outliers=(2,)))
    assert product.outliers.tolist() == [3, 40]
    assert not product.weight[product.outliers].any()
    assert (product.multiplier[product.outliers] == 1).all()


def test_a_product_takes_the_cheapest_way_that_its_error_allows(wide_inputs):
    inputs, weight = wide_inputs
    bias = np.zeros(32, np.float32)
    wide, output = quantise_product(inputs, weight, bias, Int8Scheme()), inputs @ weight
    assert wide.cost > 0 and wide.error(inputs, weight) < 0.01 * np.sqrt((output**2).mean())
    tame = np.clip(inputs, -3, 3)
    even = quantise_product(tame, weight, bias, Int8Scheme())
    assert not len(even.outliers) and even.multiplier is None and even.cost == 0
    # A multiplier that the product before takes over costs nothing: any error it saves is welcome.
    free = quantise_product(tame, weight, bias, Int8Scheme(), free_multiplier=True)
    assert free.error(tame, weight) <= even.error(tame, weight)


def test_a_quantised_layer_stays_near_the_exact_one(tiny_model, tokenizer):
    samples = [batch(tokenizer, messages(40))]
    block = tiny_model.distilbert.transformer.layer[0]
    weight, bias = layer_weights(block)["ffn.lin1"]
    inputs = observe(tiny_model, samples)["0.ffn.lin1"].values()
    product = quantise_product(inputs, weight, bias, Int8Scheme())
    exact = inputs @ weight + bias
    assert np.abs(product.outputs(inputs) - exact).max() < 0.1 * exact.std()


def test_weights_are_off_by_half_a_step_at_most():
    weight = np.random.default_rng(0).normal(size=(20, 7)).astype(np.float32)
    values, scales = quantise_columns(weight)
    assert (np.abs(values * scales - weight) <= scales / 2 + 1e-6).all()
    assert np.abs(values).max(0).tolist() == [127] * 7


def test_int8_without_samples_is_a_clear_error(tiny_model):
    with pytest.raises(ClassifierError, match="needs sample messages"):
        build_onnx(tiny_model, Int8Scheme())


def test_another_activation_is_a_clear_error(tiny_model):
    tiny_model.config.activation = "relu"
    with pytest.raises(ClassifierError, match="only 'gelu' is exported"):
        build_onnx(tiny_model)


def test_a_proof_needs_enough_different_messages(tiny_folder, tiny_model, tokenizer):
    with pytest.raises(ClassifierError, match="1000 different messages; 1 were given"):
        verify(tiny_folder / ONNX_FLOAT, tiny_model, tokenizer, ["help"] * 2000)


def test_the_proof_fails_when_one_head_answers_otherwise(tiny_folder, tiny_model, tokenizer):
    with torch.no_grad():
        tiny_model.heads["sentiment"].weight.neg_()
    with pytest.raises(ClassifierError, match=r"sentiment \d+\.\d+%") as failed:
        verify(tiny_folder / ONNX_FLOAT, tiny_model, tokenizer, messages(300), least=200)
    assert "intent" not in str(failed.value)


def test_a_failed_or_interrupted_export_keeps_the_old_file(own_folder, monkeypatch):
    before = {path: path.read_bytes() for path in own_folder.rglob("*") if path.is_file()}
    monkeypatch.setattr("classifier.export.BAR", 1.01)
    with pytest.raises(ClassifierError, match="too often"):
        export_folder(own_folder, messages(50), messages(1200))

    def interrupted(*_args, **_options):
        assert before == {path: path.read_bytes() for path in before}, "the old file serves until the proof is done"
        raise KeyboardInterrupt

    monkeypatch.setattr("classifier.export.verify", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_folder(own_folder, messages(50), messages(1200))
    assert {path: path.read_bytes() for path in own_folder.rglob("*") if path.is_file()} == before


def test_a_folder_without_weights_cannot_be_exported(own_folder):
    (own_folder / WEIGHTS).unlink()
    with pytest.raises(ClassifierError, match=r"lacks model\.safetensors"):
        export_folder(own_folder, messages(50), messages(20))


def test_the_command_exports_and_proves(own_folder, tmp_path, capsys, monkeypatch):
    for file in (ONNX_FLOAT, ONNX_INT8):
        (own_folder / file).unlink()
    samples, proof = tmp_path / "samples.jsonl", tmp_path / "proof.jsonl"
    samples.write_text("".join(json.dumps({"text": text}) + "\n" for text in messages(200)))
    proof.write_text("".join(json.dumps({"text": text}) + "\n" for text in messages(1200, seed=1)))
    # Random weights decide many messages by a hair; a trained model is held to the full bar.
    monkeypatch.setattr("classifier.export.BAR", 0.95)
    command = ["export", "--model", str(own_folder), "--samples", str(samples), "--data", str(proof)]
    command += ["--float", "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["onnx-int8"]["n"] >= 1000
    assert all(task["agreement"] >= 0.95 for task in found["onnx-int8"]["tasks"].values())
    assert all(task["agreement"] == 1 for task in found["onnx-fp32"]["tasks"].values())
    assert (own_folder / ONNX_INT8).is_file() and (own_folder / ONNX_FLOAT).is_file()


def test_a_file_that_holds_no_messages_is_a_clear_error(own_folder, tmp_path, capsys):
    file = tmp_path / "bad.jsonl"
    file.write_text('{"number": 5}\n')
    assert main(["export", "--model", str(own_folder), "--samples", str(file), "--data", str(file)]) == 2
    assert "No column of 'bad.jsonl' holds texts" in capsys.readouterr().err


def test_blocks_keep_each_weight_within_half_a_step():
    weight = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)
    product = quantise_blocks(weight, np.zeros(5, np.float32), 32)
    back = (product.weight.astype(np.float32) - 128) * product.scales[:, :, None]
    assert product.weight.shape == (5, 2, 32)
    assert np.all(np.abs(back.reshape(5, 64).T - weight) <= np.repeat(product.scales.T, 32, axis=0) / 2 + 1e-6)


def test_blocks_answer_a_message_alike_in_any_batch(tiny_model, tokenizer):
    ids, mask = batch(tokenizer, messages(8))
    graph = build_onnx(tiny_model, Int8Scheme(block=32), [(ids, mask)]).SerializeToString()
    found = compare(graph, tiny_model, [(ids, mask)])
    alone = compare(graph, tiny_model, [(row[None], one[None]) for row, one in zip(ids, mask, strict=True)])
    for task, values in found.items():
        assert abs(values["largest_difference"] - alone[task]["largest_difference"]) < 1e-3


def test_every_scheme_is_compared_on_the_same_messages(tiny_folder, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("classifier.schemes.SCHEMES", dict(list(SCHEMES.items())[:2] + list(SCHEMES.items())[-2:-1]))
    samples, proof = tmp_path / "samples.jsonl", tmp_path / "proof.jsonl"
    samples.write_text("\n".join(json.dumps({"text": text}) for text in messages(40)))
    proof.write_text("\n".join(json.dumps({"text": text}) for text in messages(60, seed=1)))
    files = {file: file.stat().st_mtime_ns for file in tiny_folder.rglob("*")}
    main(["export", "--model", str(tiny_folder), "--samples", str(samples), "--data", str(proof), "--schemes"])
    table = capsys.readouterr().out
    assert table.count("\n| ") == 3 and "| float32 | 100.00%" in table
    assert files == {file: file.stat().st_mtime_ns for file in tiny_folder.rglob("*")}, "nothing is written"


def test_schemes_need_weights(tiny_folder, tmp_path):
    for file in tiny_folder.iterdir():
        if file.name != WEIGHTS:
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(ClassifierError, match="lacks"):
        compare_schemes(tmp_path, ["a"], ["b"])
