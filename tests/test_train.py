import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from colours import one_batch, rows, settings, task_set
from conftest import make_model, make_tokenizer
from safetensors.torch import load_file
from torch.nn import functional

from classifier import loop, train
from classifier.batches import Epoch, plan
from classifier.card import MARK
from classifier.checkpoint import Checkpoints, Progress, replace_folder
from classifier.commands_train import _path_and_column
from classifier.desks import SUPPORT
from classifier.errors import ClassifierError
from classifier.examples import MISSING, Examples
from classifier.logits import predict_logits
from classifier.losses import MultiTaskLoss, class_weights, divergence
from classifier.optim import make_optimizer, use_bf16
from classifier.predict import Classifier
from classifier.prepare import prepare
from classifier.settings import PRESETS, TrainSettings, preset, read_settings_file
from classifier.speed import flops, measure_training

ROOT = Path(__file__).parents[1]


def command(world, out, *more, launcher=()):
    words = [sys.executable, *(launcher or ("-m",)), "classifier", "train", "--tasks", world / "tasks.json"]
    words += ["--data", world / "data.jsonl", "--base", world / "base", "--out", out, "--max-tokens", "24"]
    words += ["--batch-size", "16", "--precision", "fp32", "--learning-rate", "0.01", *more]
    return [str(word) for word in words]


def run(words, **options):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, **options)


def log(out):
    return [json.loads(line) for line in (out.with_name(f"{out.name}.run") / "log.jsonl").read_text().splitlines()]


def last_step(path):
    return max([json.loads(line)["step"] for line in path.read_text().splitlines()[:-1]], default=0)


@pytest.fixture(scope="session")
def unbroken(world, tmp_path_factory):
    """A finished run of the command, four epochs in one process."""
    out = tmp_path_factory.mktemp("unbroken") / "model"
    done = run(command(world, out, "--epochs", "4", "--patience", "9", "--checkpoint-steps", "3"))
    assert done.returncode == 0, done.stderr
    return out


def test_the_command_writes_a_model_that_serves_and_has_learnt(unbroken):
    evaluation = json.loads((unbroken / "report.json").read_text())["evaluation"]["validation_clean"]
    assert evaluation["tasks"]["colour"]["accuracy"] > 0.75 and evaluation["tasks"]["mood"]["accuracy"] > 0.75
    found = list(rows(60, seed=9))
    results = Classifier.load(unbroken).classify_many([row["text"] for row in found])
    right = [
        result.labels == {"colour": row["colour"], "mood": row["mood"]}
        for result, row in zip(results, found, strict=True)
    ]
    assert np.mean(right) > 0.75
    assert (unbroken.with_name("model.run") / "curves.png").read_bytes().startswith(b"\x89PNG")
    windows = [line for line in log(unbroken) if "messages_per_second" in line]
    assert windows and all(0 <= line["padding"] < 0.5 and line["tokens_per_second"] > 0 for line in windows)


def test_the_report_is_whole_and_names_no_folder_of_this_machine(world, unbroken):
    text = (unbroken / "report.json").read_text()
    report = json.loads(text)
    assert str(world) not in text and report["data"]["found"]["rows"] == {"data.jsonl": 320}
    assert report["calibration"]["on"] == "validation" and set(report["calibration"]["tasks"]) == {"colour", "mood"}
    assert set(report["evaluation"]) == {"validation_clean", "validation_noisy"}
    assert report["int8"]["tasks"]["mood"]["agreement"] > 0.9
    card = (unbroken / "README.md").read_text()
    assert MARK in card and "data.jsonl" in card and str(world) not in card
    temperatures = json.loads((unbroken / "calibration.json").read_text())["temperatures"]
    assert temperatures.keys() == {"colour", "mood"} and 1.0 not in temperatures.values()


def test_kill_and_resume_gives_the_weights_of_an_unbroken_run(world, unbroken, tmp_path):
    words = command(world, tmp_path / "model", "--epochs", "4", "--patience", "9", "--checkpoint-steps", "3")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    path = tmp_path / "model.run" / "log.jsonl"
    for seen in (10, 24):  # killed twice, in the middle of an epoch
        process = subprocess.Popen([*words, "--resume"], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        while not path.is_file() or last_step(path) <= seen:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "model").exists()
    done = run([*words, "--resume"])
    assert done.returncode == 0, done.stderr
    ours, theirs = load_file(tmp_path / "model/model.safetensors"), load_file(unbroken / "model.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [(line["step"], line.get("loss")) for line in log(tmp_path / "model")] == [
        (line["step"], line.get("loss")) for line in log(unbroken)
    ]


def test_two_processes_train_as_one(world, unbroken, tmp_path):
    launcher = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1",
                "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m")  # fmt: skip
    out = tmp_path / "model"
    # Dropout of the heads is drawn per process, so it is off on both sides of the comparison.
    single = settings(world, tmp_path / "single", dropout=0.0, epochs=1)
    train.train(single)
    config = tmp_path / "config.yaml"
    config.write_text(f"dropout: 0.0\nnoise: {single.noise.model_dump_json()}\n")
    done = run(command(world, out, "--epochs", "1", "--config", config, launcher=launcher))
    assert done.returncode == 0, done.stderr[-3000:]
    one = [line["loss"] for line in log(tmp_path / "single") if "loss" in line]
    two = [line["loss"] for line in log(out) if "loss" in line]
    assert len(one) == len(two) > 5 and np.allclose(one, two, atol=1e-4)
    ours, theirs = load_file(out / "model.safetensors"), load_file(tmp_path / "single/model.safetensors")
    assert_close(ours, theirs)


def test_the_same_seed_gives_the_same_weights_and_accumulation_changes_nothing(world, tmp_path):
    variants = {
        "a": {},
        "b": {},
        "seed": {"seed": 1},
        "parts": {"accumulation": 4, "dropout": 0.0},
        "whole": {"dropout": 0.0},
    }
    weights, losses = {}, {}
    for name, values in variants.items():
        train.train(settings(world, tmp_path / name, epochs=1, **values))
        weights[name] = load_file(tmp_path / name / "model.safetensors")
        losses[name] = [line["loss"] for line in log(tmp_path / name) if "loss" in line]
    assert all(torch.equal(weights["a"][name], weights["b"][name]) for name in weights["a"])
    assert any(not torch.equal(weights["a"][name], weights["seed"][name]) for name in weights["a"])
    assert np.allclose(losses["parts"], losses["whole"], atol=1e-4)
    assert_close(weights["parts"], weights["whole"])


def assert_close(ours, theirs):
    """Weights are equal up to rounding; keys' biases get no gradient but rounding, which Adam magnifies."""
    for name in theirs:
        if "k_lin.bias" not in name:
            assert torch.allclose(ours[name], theirs[name], atol=1e-3), name


def test_auxiliary_heads_train_and_stay_out_of_the_folder(world, tmp_path):
    aux = tmp_path / "aux.jsonl"
    aux.write_text(
        "\n".join(json.dumps({"text": row["text"] + " x", "kind": row["colour"]}) for row in rows(40, seed=5))
    )
    out = train.train(settings(world, tmp_path / "m", epochs=1, aux=[{"name": "kind", "path": str(aux)}]))
    report = json.loads((out / "report.json").read_text())
    assert report["data"]["train"]["tasks"]["kind"]["labelled"] == 40
    assert not any("kind" in name for name in load_file(out / "model.safetensors"))
    assert set(Classifier.load(out).classify("hello").labels) == {"colour", "mood"}


def test_texts_of_the_dev_file_are_never_trained_on(world, tmp_path):
    dev = tmp_path / "dev.jsonl"
    dev.write_text("\n".join((world / "data.jsonl").read_text().splitlines()[:20]))
    prepared = train.prepare(settings(world, tmp_path / "m", dev=str(dev)))
    assert not set(prepared.dev.texts) & {*prepared.train.texts, *prepared.validation.texts}
    assert not set(prepared.train.texts) & set(prepared.validation.texts)
    assert prepared.report["found"]["held_out"] == 20


def test_an_empty_training_split_is_an_error(world, tmp_path):
    same = str(world / "data.jsonl")
    with pytest.raises(ClassifierError, match="training split is empty"):
        train.prepare(settings(world, tmp_path / "m", validation=same))


def test_early_stopping_keeps_the_best_weights(world, tmp_path, monkeypatch):
    scores = iter([0.2, 0.6, 0.5, 0.4, 0.9])
    monkeypatch.setattr(loop, "validation_scores", lambda *_: {"score": next(scores), "tasks": {}})
    chosen = settings(world, tmp_path / "m", epochs=5, patience=2)
    train.train(chosen)
    validations = [line for line in log(tmp_path / "m") if line.get("event")]
    assert [line["score"] for line in validations] == [0.2, 0.6, 0.5, 0.4]
    assert validations[-1]["best_step"] == validations[1]["step"]
    best, last = (
        load_file(chosen.run / "best/model.safetensors"),
        load_file(Checkpoints(chosen.run).latest() / "model.safetensors"),
    )
    final = load_file(tmp_path / "m/model.safetensors")
    assert all(torch.equal(final[name], best[name]) for name in final)
    assert any(not torch.equal(final[name], last[name]) for name in final)


def test_a_sweep_keeps_the_best_preset(world, tmp_path):
    values = {key: value for key, value in settings(world, tmp_path / "m").model_dump(exclude_unset=True).items()
              if key not in ("epochs", "batch_size", "learning_rate")}  # fmt: skip
    table = train.sweep({**values, "max_steps": 4}, ["config1", "ours"])
    assert [row["score"] for row in table] == sorted((row["score"] for row in table), reverse=True)
    best = load_file(tmp_path / f"m.run/{table[0]['preset']}.run/best/model.safetensors")
    final = load_file(tmp_path / "m/model.safetensors")
    assert all(torch.equal(final[name], best[name]) for name in final)
    assert (tmp_path / "m.run/sweep.png").is_file() and len(
        json.loads((tmp_path / "m.run/sweep.json").read_text())["runs"]
    ) == 2


# Errors leave earlier checkpoints untouched


def snapshot(run):
    return {str(path): path.read_bytes() for path in sorted(run.glob("checkpoint*/*"))}


def test_out_of_memory_says_what_to_lower_and_the_run_can_go_on(world, tmp_path, monkeypatch):
    chosen = settings(world, tmp_path / "m", epochs=1, checkpoint_steps=2)
    step = loop.Loop._step

    def exhausted(self, epoch, number):
        if self.progress.step == 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return step(self, epoch, number)

    monkeypatch.setattr(loop.Loop, "_step", exhausted)
    with pytest.raises(ClassifierError, match="--resume and --accumulation 2"):
        train.train(chosen)
    assert Checkpoints(chosen.run).latest().name == "checkpoint-00000004"
    monkeypatch.undo()
    train.train(chosen.model_copy(update={"accumulation": 2}), resume=True)
    assert (tmp_path / "m/config.json").is_file()


def test_a_loss_that_is_no_number_stops_before_the_checkpoint(world, tmp_path):
    chosen = settings(world, tmp_path / "m", learning_rate=1e30, warmup=0.0, clip=1e30, epochs=1, checkpoint_steps=1)
    with pytest.raises(ClassifierError, match=r"loss is nan at step \d+; earlier checkpoints are untouched"):
        train.train(chosen)
    assert not (tmp_path / "m").exists()


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path):
    """A real failed write: the process may write no file beyond some kilobytes."""
    code = """
import resource, signal, sys
from pathlib import Path
import torch
from classifier.checkpoint import Checkpoints, Progress
model = torch.nn.Linear(300, 300)
optimizer = torch.optim.AdamW(model.parameters())
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
checkpoints = Checkpoints(Path(sys.argv[1]))
checkpoints.save(model, optimizer, schedule, Progress(step=1))
checkpoints.save_best(model)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for save, more in ((checkpoints.save, (optimizer, schedule, Progress(step=2))), (checkpoints.save_best, ())):
    try:
        save(model, *more)
    except ValueError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.count("could not be written") == 2 and "continue with --resume" in done.stdout, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "checkpoint-00000001"]
    model = torch.nn.Linear(300, 300)
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    assert Checkpoints(tmp_path).load(tmp_path / "checkpoint-00000001", model, optimizer, schedule).step == 1


def test_too_little_disk_is_said_before_training(world, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("classifier.checkpoint.shutil.disk_usage", lambda _: usage)
    with pytest.raises(ClassifierError, match="MB free; a run needs about"):
        train.train(settings(world, tmp_path / "m"))


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "model"
    replace_folder(target, lambda folder: (folder / "a").write_text("old"))

    def fail(folder):
        (folder / "a").write_text("new")
        raise OSError(28, "No space left on device")

    with pytest.raises(ClassifierError, match="the disk is full"):
        replace_folder(target, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["model"] and (target / "a").read_text() == "old"


def test_a_folder_beside_it_is_never_touched_and_a_killed_exchange_is_undone(tmp_path):
    for name in ("model", "old-model", "part-model", ".model.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    replace_folder(tmp_path / "model", lambda folder: (folder / "a").write_text("new"))
    assert {path.name: (path / "a").read_text() for path in tmp_path.iterdir()} == {
        "model": "new", "old-model": "old-model", "part-model": "part-model"
    }  # fmt: skip
    (tmp_path / "model").rename(tmp_path / ".model.old")  # as a kill between the two renames leaves it

    def fail(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(ClassifierError, match="the disk is full"):
        replace_folder(tmp_path / "model", fail)
    assert (tmp_path / "model" / "a").read_text() == "new"


def test_a_run_from_before_some_settings_goes_on(world, tmp_path):
    chosen = settings(world, tmp_path / "m", max_steps=2)
    train.train(chosen)
    identity = json.loads((chosen.run / "run.json").read_text())
    del identity["settings"]["spelling"], identity["settings"]["columns"]
    (chosen.run / "run.json").write_text(json.dumps(identity))
    train.train(chosen, resume=True)


def test_runs_are_neither_overwritten_nor_mixed(world, tmp_path):
    chosen = settings(world, tmp_path / "m", max_steps=2)
    train.train(chosen)
    before = snapshot(chosen.run)
    with pytest.raises(ClassifierError, match="continue it with --resume"):
        train.train(chosen)
    with pytest.raises(ClassifierError, match=r"begun differently: learning_rate \(0.01 before, 0.1 now\)"):
        train.train(chosen.model_copy(update={"learning_rate": 0.1}), resume=True)
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join(json.dumps(row) for row in rows(80, seed=9)))
    with pytest.raises(ClassifierError, match="the data"):
        train.train(settings(world, tmp_path / "m", max_steps=2, data=[{"path": str(other)}]), resume=True)
    assert snapshot(chosen.run) == before


def test_a_damaged_checkpoint_is_named(world, tmp_path):
    chosen = settings(world, tmp_path / "m", max_steps=2)
    train.train(chosen)
    (Checkpoints(chosen.run).latest() / "optimizer.pt").write_bytes(b"half")
    with pytest.raises(ClassifierError, match="cannot be continued"):
        train.train(chosen, resume=True)


def test_a_folder_of_something_else_is_never_replaced(world, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_bytes(b"")
    with pytest.raises(ClassifierError, match="something other than a model folder"):
        train.train(settings(world, tmp_path / "photos"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--data", "nowhere.csv"], "There is no file 'nowhere.csv'"),
        (["--base", "./no/where"], "No encoder can be loaded"),
        (["--preset", "config9"], "choose one of config1"),
        (["--epochs", "-1"], "epochs: Input should be greater than or equal to 0"),
        (["--out", "."], "'.' is no folder of its own"),
        (["--report-to", "nothing"], "nothing, which is not installed"),
        (["--max-tokens", "65"], "the encoder reads up to 64"),
        (["--batch-size", "2", "--accumulation", "3"], "cannot be cut into 3 parts"),
    ],
)
def test_wrong_use_is_one_clear_error(world, tmp_path, capsys, words, says):
    from classifier.__main__ import main

    base = command(world, tmp_path / "m")[3:]
    flag = words[0]
    if flag in base:
        at = base.index(flag)
        base = base[:at] + base[at + 2 :]
    assert main([*base, *words]) == 2
    assert says in capsys.readouterr().err and not (tmp_path / "m").exists()


# Parts


def examples(count=6, missing=()):
    labels = {"colour": np.arange(count) % 3, "mood": np.arange(count) % 2}
    for task, row in missing:
        labels[task][row] = MISSING
    return Examples([f"text {row}" for row in range(count)], labels)


def test_masked_labels_do_not_influence_other_tasks(world, tmp_path):
    chosen = settings(world, tmp_path / "m", noise=None, batch_size=6, label_smoothing=0.0)
    model = make_model(task_set())
    gradients = []
    for missing in ([], [("mood", row) for row in range(6)]):
        found = examples(missing=missing)
        batch = one_batch(found, chosen)
        losses = MultiTaskLoss(task_set().tasks, frozenset(), chosen, found)(
            model(batch.input_ids, batch.attention_mask), batch, 6
        )
        model.zero_grad()
        losses["colour"].backward()
        gradients.append(
            {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
        )
    full, masked = gradients
    assert losses["mood"] == 0.0
    assert full.keys() == masked.keys() and all(torch.equal(full[name], masked[name]) for name in full)


def test_a_row_without_labels_adds_nothing(world, tmp_path):
    chosen = settings(world, tmp_path / "m", noise=None, batch_size=6)
    found = examples(missing=[("colour", 2), ("mood", 2)])
    batch = one_batch(found, chosen)
    loss = MultiTaskLoss(task_set().tasks, frozenset(), chosen, found)
    logits = {"colour": torch.randn(6, 3, requires_grad=True), "mood": torch.randn(6, 2, requires_grad=True)}
    sum(loss(logits, batch, 6).values()).backward()
    empty = int((batch.labels["colour"] == MISSING).nonzero())
    assert logits["colour"].grad[empty].abs().sum() == 0 and (logits["colour"].grad.abs().sum(1) > 0).sum() == 5


def test_the_parts_of_a_batch_add_up(world, tmp_path):
    chosen = settings(world, tmp_path / "m", noise=None, batch_size=6)
    found = examples(missing=[("mood", 1)])
    epoch = Epoch(found, task_set(), make_tokenizer(), chosen, 0)
    loss, model = MultiTaskLoss(task_set().tasks, frozenset(), chosen, found), make_model(task_set())

    def value(batch):
        return sum(loss(model(batch.input_ids, batch.attention_mask), batch, 6).values()).item()

    assert value(epoch.batch(0)) == pytest.approx(sum(value(epoch.batch(0, part, 4)) for part in range(4)), rel=1e-5)


def test_losses_are_those_of_their_papers(world, tmp_path):
    found = examples()
    plain = settings(world, tmp_path / "m", noise=None, batch_size=6, label_smoothing=0.0)
    batch = one_batch(found, plain)
    logits = {"colour": torch.randn(6, 3), "mood": torch.randn(6, 2)}
    truth = batch.labels["colour"]

    def colour(outputs=logits, **values):
        chosen = plain.model_copy(update=values)
        return MultiTaskLoss(task_set().tasks, frozenset({"mood"}), chosen, found)(outputs, batch, 6)

    assert torch.allclose(colour()["colour"], functional.cross_entropy(logits["colour"], truth))
    assert torch.allclose(colour()["mood"], 0.5 * functional.cross_entropy(logits["mood"], batch.labels["mood"]))
    right = logits["colour"].softmax(1).gather(1, truth[:, None])[:, 0]
    assert torch.allclose(colour(focal_gamma=2.0)["colour"], (-((1 - right) ** 2) * right.log()).mean())
    assert torch.allclose(colour(task_weights={"colour": 3.0})["colour"], 3 * colour()["colour"])
    doubled = {name: torch.cat([value, value]) for name, value in logits.items()}
    assert torch.allclose(colour(doubled, r_drop=5.0)["colour"], colour()["colour"]), "equal passes don't diverge"


def test_r_drops_divergence_is_the_symmetric_one():
    a, b = torch.randn(4, 3), torch.randn(4, 3)
    p, q = a.log_softmax(1), b.log_softmax(1)
    both = functional.kl_div(p, q, log_target=True, reduction="none").sum(1)
    both = both + functional.kl_div(q, p, log_target=True, reduction="none").sum(1)
    assert torch.allclose(divergence(a, b), both / 2, atol=1e-6)


def test_class_weights_are_inverse_frequencies_with_mean_one():
    found = Examples(["x"] * 10, {"colour": np.array([0] * 8 + [1, MISSING])})
    weights = class_weights(found, task_set().tasks[0])
    assert weights[1] == pytest.approx(8 * weights[0]) and (8 * weights[0] + weights[1]) / 9 == pytest.approx(1)


def test_batches_hold_each_row_once_and_group_lengths():
    lengths = np.random.default_rng(0).integers(4, 200, 1000)
    batches = plan(lengths, 16, "0/0", True)
    assert len(batches) == 1000 // 16 and all(len(batch) == 16 for batch in batches)
    seen = [row for batch in batches for row in batch]
    assert len(seen) == len(set(seen)) == 992

    def padding(found):
        return 1 - sum(lengths[batch].sum() for batch in found) / sum(16 * lengths[batch].max() for batch in found)

    assert padding(batches) < 0.15 < 0.4 < padding(plan(lengths, 16, "0/0", False))
    assert plan(lengths, 16, "0/0", True) == batches != plan(lengths, 16, "0/1", True)


def test_layers_learn_at_their_own_rate_and_only_matrices_decay(world, tmp_path):
    model = make_model(task_set())
    optimizer = make_optimizer(model, settings(world, tmp_path / "m", layer_decay=0.5, learning_rate=0.8))
    rates = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    named = dict(model.named_parameters())
    assert len(rates) == len(named)
    assert rates[id(named["heads.colour.weight"])]["lr"] == pytest.approx(0.8)
    assert rates[id(named["distilbert.transformer.layer.1.ffn.lin1.weight"])]["lr"] == pytest.approx(0.4)
    assert rates[id(named["distilbert.embeddings.word_embeddings.weight"])]["lr"] == pytest.approx(0.1)
    assert (
        rates[id(named["heads.colour.bias"])]["weight_decay"]
        == 0.0
        < rates[id(named["heads.colour.weight"])]["weight_decay"]
    )


def test_predicted_logits_are_in_order_and_do_not_depend_on_the_batch(tiny_model):
    texts = ["refund my card please", "x", "the hours " * 12, "login"]
    together = predict_logits(tiny_model, make_tokenizer(), texts, 24, batch_tokens=50)
    for row, text in enumerate(texts):
        alone = predict_logits(tiny_model, make_tokenizer(), [text], 24)
        assert all(np.allclose(alone[name][0], together[name][row], atol=1e-5) for name in SUPPORT.task_names)


def test_precision_is_as_asked():
    cpu = torch.device("cpu")
    assert use_bf16("bf16", cpu) and not use_bf16("fp32", cpu)
    assert use_bf16("auto", cpu) == bool(torch.cpu.get_capabilities().get("amx_bf16"))


def test_presets_and_files_of_settings(tmp_path, world):
    grid = [
        (PRESETS[n]["learning_rate"], PRESETS[n]["epochs"], PRESETS[n]["batch_size"])
        for n in ("config1", "config2", "config3")
    ]
    assert grid == [(2e-5, 3, 16), (3e-5, 4, 8), (5e-5, 5, 16)]
    file = tmp_path / "train.yaml"
    file.write_text("preset: config2\nepochs: 7\nnoise: {rate: 0.2}\n")
    named, values = read_settings_file(file)
    built = TrainSettings.build(preset(named), {"data": [{"path": "x"}], "base": "x", "out": "x"}, values)
    assert built.epochs == 7 and built.noise.rate == 0.2 and built.learning_rate == 3e-5
    for content, says in (
        ("lerning_rate: 1", "lerning_rate"),
        ("task_weights: {mood: -1}", "task_weights.mood"),
        ("- a", "no mapping"),
        ("a: [", "as YAML"),
    ):
        file.write_text(content)
        with pytest.raises(ClassifierError, match=says):
            TrainSettings.build(read_settings_file(file)[1], {"data": [{"path": "x"}], "base": "x", "out": "x"})


def test_a_share_of_noise_leaves_its_strengths_as_they_are(monkeypatch, tmp_path):
    from classifier.__main__ import main

    built = []
    monkeypatch.setattr("classifier.commands_train._print_speed", lambda settings, _json: built.append(settings))
    words = ["train", "--benchmark", "--data", "x", "--base", "x", "--out", "x", "--noise"]
    (tmp_path / "a.yaml").write_text("noise: {typos: 0.9}")
    for further in (["0.5"], ["0.5", "--config", str(tmp_path / "a.yaml")], ["0"]):
        assert main([*words, *further]) == 0
    ours = preset("ours")["noise"]
    assert (built[0].noise.rate, built[0].noise.typos, built[0].noise.strength) == (
        0.5,
        ours["typos"],
        ours["strength"],
    )
    assert (built[1].noise.rate, built[1].noise.typos) == (0.5, 0.9)
    assert built[2].noise is None


def test_weights_of_unknown_tasks_are_refused(world, tmp_path):
    with pytest.raises(ClassifierError, match="task_weights names moood; expected tasks: colour, mood"):
        train.train(settings(world, tmp_path / "m", task_weights={"moood": 3.0}))


def test_columns_are_mapped_in_held_out_files_too(world, tmp_path):
    held_out = tmp_path / "held-out.csv"
    held_out.write_text("message,colour\nmy order is blue,blue\nmy card is red,red\n")
    chosen = settings(world, tmp_path / "m", validation=str(held_out), columns={"text": "message"})
    assert len(prepare(chosen).validation) == 2
    held_out.write_text("text,colour\nmy order is blue,blue\n")
    assert len(prepare(chosen).validation) == 1, "it may also have the usual names"
    held_out.write_text("message,colour\nmy order is blue,blue\nmy card is red,red\n")
    with pytest.raises(ClassifierError, match="has no column 'text'"):
        prepare(settings(world, tmp_path / "m", validation=str(held_out)))


@pytest.mark.parametrize(
    ("value", "path", "column"),
    [
        ("train.csv", "train.csv", None),
        ("train.csv:intent", "train.csv", "intent"),
        ("C:\\data\\train.csv:intent", "C:\\data\\train.csv", "intent"),
        ("clinc/clinc_oos:plus", "clinc/clinc_oos:plus", None),
        ("clinc/clinc_oos:plus@train", "clinc/clinc_oos:plus@train", None),
        ("clinc/clinc_oos:plus:intent", "clinc/clinc_oos:plus", "intent"),
        ("data/train.csv:intent", "data/train.csv", "intent"),
        ("data/missing.csv:intent", "data/missing.csv", "intent"),
        ("mteb/banking77@train:label_text", "mteb/banking77@train", "label_text"),
    ],
)
def test_an_auxiliary_table_and_its_column_are_told_apart(tmp_path, monkeypatch, value, path, column):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.csv").write_text("text,intent\n")
    assert _path_and_column(value) == {"path": path, "column": column}


def test_progress_survives_a_checkpoint(tmp_path):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(model, optimizer, schedule, Progress(step=step, best_score=0.5, misses=1))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000002"]
    assert checkpoints.load(checkpoints.latest(), model, optimizer, schedule) == Progress(2, 0.5, 0, 1)


def test_the_speed_of_training_is_measured_on_the_same_messages(world, tmp_path):
    found = measure_training(settings(world, tmp_path / "m"), rounds=1)
    ours, notebook = found["ways"]["ours"], found["ways"]["notebook"]
    assert notebook["padding"] > ours["padding"]
    assert found["ratio"] == pytest.approx(ours["messages_per_second"] / notebook["messages_per_second"])
    # The same messages need the same useful work, so all speeds stand in one ratio.
    assert ours["tokens_per_second"] / notebook["tokens_per_second"] == pytest.approx(found["ratio"])
    assert ours["share_of_peak"] / notebook["share_of_peak"] == pytest.approx(found["ratio"])
    assert not tmp_path.joinpath("m.run").exists()
    with pytest.raises(ClassifierError, match="give at least 4 batches, of a size that 8 divides"):
        measure_training(settings(world, tmp_path / "m", batch_size=12))


def test_needed_operations_are_counted_without_padding(world, tmp_path):
    model, chosen = make_model(task_set()), settings(world, tmp_path / "m", noise=None, batch_size=6)
    batch = one_batch(examples(), chosen)
    tokens = batch.attention_mask.sum(1).double()
    # Per layer four matrices of attention and two of the feed-forward; 32 dimensions, 64 inside, 2 layers.
    weights = 2 * (4 * 32 * 32 + 2 * 32 * 64)
    assert flops(model, [batch]) == 6 * weights * tokens.sum() + 12 * 2 * 32 * (tokens**2).sum()


def test_no_epoch_finishes_a_folder_as_it_is(unbroken, world, tmp_path):
    """For weights that were averaged: calibration, ONNX file, report and card, by the same command."""
    out = train.train(settings(world, tmp_path / "finished", base=str(unbroken), epochs=0))
    before, after = (load_file(folder / "model.safetensors") for folder in (unbroken, out))
    assert all(torch.equal(after[key], value) for key, value in before.items())
    report = json.loads((out / "report.json").read_text())
    assert report["training"]["steps"] == 0 and report["training"]["settings"]["epochs"] == 0
    assert set(report["evaluation"]) == {"validation_clean", "validation_noisy"} and report["int8"]["n"]
    assert Classifier.load(out).classify("refund my card please").labels["colour"]
    own = json.loads((out / "policy.json").read_text()) | {"version": "ours"}
    (out / "policy.json").write_text(json.dumps(own))
    words = '{"learned": ["refund"], "others": []}'
    (out / "words.json").write_text(words)
    again = train.train(settings(world, tmp_path / "again", base=str(out), epochs=0, spelling="en"))
    assert json.loads((again / "words.json").read_text()) == json.loads(words), "it reads messages as before"
    assert json.loads((again / "policy.json").read_text()) == own
    with pytest.raises(ClassifierError, match=r"--epochs 0 trains nothing.*no trained heads for colour, mood"):
        train.train(settings(world, tmp_path / "not", epochs=0))
    with pytest.raises(ClassifierError, match=r"it reads 24 tokens; give that as --max-tokens instead of 32"):
        train.train(settings(world, tmp_path / "not", base=str(out), epochs=0, max_tokens=32))


def test_training_on_keeps_the_heads_whose_labels_are_the_same(unbroken, world, tmp_path):
    """One step at no learning rate leaves the model as it was; heads for other labels, or another pooling, are new."""
    before = load_file(unbroken / "model.safetensors")
    values = {"base": str(unbroken), "max_steps": 1, "learning_rate": 1e-12}

    def heads(name, **more):
        out = train.train(settings(world, tmp_path / name, **values, **more))
        after = load_file(out / "model.safetensors")
        return {key: torch.allclose(after[key], before[key]) for key in before if key.startswith("heads.")}

    assert all(heads("same").values())
    other = "first" if json.loads((unbroken / "config.json").read_text())["pooling"] == "mean" else "mean"
    assert not any(heads("pooled", pooling=other).values())
    renamed = json.loads((world / "tasks.json").read_text())
    renamed["tasks"][0]["labels"] = renamed["tasks"][0]["labels"][::-1]
    (tmp_path / "tasks.json").write_text(json.dumps(renamed))
    found = heads("reversed", tasks=str(tmp_path / "tasks.json"))
    first = renamed["tasks"][0]["name"]
    assert {key.split(".")[1]: value for key, value in found.items() if key.endswith("weight")} == {
        task["name"]: task["name"] != first for task in renamed["tasks"]
    }
