import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from colours import one_batch, rows, settings, task_set
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import MPNetConfig, MPNetModel

from classifier import train
from classifier.checkpoint import Checkpoints
from classifier.distill import teach
from classifier.errors import ClassifierError
from classifier.examples import MISSING, Examples
from classifier.export import export_folder
from classifier.folder import WEIGHTS
from classifier.losses import MultiTaskLoss
from classifier.model import load_encoder
from classifier.predict import Classifier
from classifier.prepare import prepare
from classifier.teacher import MultiTaskTeacher

TEXTS = ["my card please", "refund urgent", "order please", "card urgent", "the refund please", "order urgent"]


@pytest.fixture(scope="module")
def teacher(world, tmp_path_factory):
    return train.train(settings(world, tmp_path_factory.mktemp("teacher") / "m", epochs=4, patience=9))


@pytest.fixture(scope="module")
def other_teacher(world, tmp_path_factory):
    """A teacher on an encoder that is neither DistilBERT nor BERT."""
    folder = tmp_path_factory.mktemp("other")
    torch.manual_seed(0)
    vocabulary = len(json.loads((world / "base" / "tokenizer.json").read_text())["model"]["vocab"])
    config = MPNetConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=40,
        hidden_dropout_prob=0.0,
    )
    MPNetModel(config).save_pretrained(folder / "base")
    shutil.copy(world / "base" / "tokenizer.json", folder / "base")
    values = {"base": str(folder / "base"), "teacher": True, "epochs": 6, "patience": 9}
    return train.train(settings(world, folder / "m", **values))


def examples():
    return Examples(TEXTS, {"colour": np.array([0, 1, 2, MISSING, MISSING, 2]), "mood": np.full(6, MISSING)})


def test_the_teachers_mean_answer_is_what_they_serve(teacher, tiny_folder):
    taught = teach(examples(), [str(teacher), str(teacher)], task_set())
    served = Classifier.load(teacher).probabilities(TEXTS)
    for task, shares in taught.soft.items():
        expected = [list(found[task].values()) for found in served]
        assert np.allclose(shares, expected, atol=0.2) and shares.dtype == np.float32


def test_a_label_and_the_teachers_share_the_target(teacher, world, tmp_path):
    chosen = settings(world, tmp_path / "m", noise=None, batch_size=6, label_smoothing=0.0, distill=0.25)
    taught = teach(examples(), [str(teacher)], task_set())
    batch = one_batch(taught, chosen)
    logits = torch.randn(6, 3)
    found = MultiTaskLoss(task_set().tasks, frozenset(), chosen, taught)
    loss = found({"colour": logits, "mood": torch.randn(6, 2)}, batch, 6)["colour"]
    expected = 0.0
    for row in range(6):
        label, shares = batch.labels["colour"][row], batch.soft["colour"][row]
        own = functional.one_hot(label, 3) if label != MISSING else None
        target = shares if own is None else 0.75 * own + 0.25 * shares
        expected += -(target * logits[row].log_softmax(0)).sum() / 6
    assert torch.allclose(loss, torch.as_tensor(expected, dtype=torch.float32))


def test_a_student_learns_from_messages_that_nobody_labelled(teacher, world, tmp_path):
    few, many, check = tmp_path / "few.jsonl", tmp_path / "many.jsonl", tmp_path / "check.jsonl"
    few.write_text("\n".join(json.dumps(row) for row in rows(40, seed=1)))
    many.write_text("\n".join(json.dumps({"text": row["text"]}) for row in rows(400, seed=2)))
    found = list(rows(60, seed=3))
    check.write_text("\n".join(json.dumps(row) for row in found))

    def accuracy(name, **values):
        out = train.train(
            settings(world, tmp_path / name, data=[{"path": str(few)}], validation=str(check), patience=9, **values)
        )
        answers = Classifier.load(out).classify_many([row["text"] for row in found])
        return np.mean([answer.labels["colour"] == row["colour"] for answer, row in zip(answers, found, strict=True)])

    alone = accuracy("alone")
    taught = accuracy("taught", teachers=[str(teacher)], unlabelled=[str(many)])
    assert taught > alone + 0.3
    report = json.loads((tmp_path / "taught" / "report.json").read_text())
    assert report["training"]["settings"]["teachers"] == ["./m"], "no folder of this machine in what is published"
    assert report["training"]["settings"]["unlabelled"] == ["many.jsonl"]


def test_unlabelled_messages_are_counted_once_and_only_trained_on(teacher, world, tmp_path):
    more = tmp_path / "more.jsonl"
    known = json.loads((world / "data.jsonl").read_text().splitlines()[0])["text"]
    more.write_text("\n".join(json.dumps({"text": text}) for text in [known, *TEXTS, *TEXTS, " "]))
    found = prepare(settings(world, tmp_path / "m", teachers=[str(teacher)], unlabelled=[str(more)]))
    assert sum(text in TEXTS for text in found.train.texts) == len(TEXTS)
    assert not set(found.validation.texts) & set(TEXTS)
    assert found.report["found"]["rows"]["more.jsonl"] == 14 and found.report["found"]["empty"] == 1


def test_what_cannot_teach_is_one_clear_error(teacher, tiny_folder, world, tmp_path):
    with pytest.raises(ClassifierError, match="expected the labels of 'colours'"):
        teach(examples(), [str(tiny_folder)], task_set())
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in teacher.iterdir():
        if file.name != "model.safetensors":
            (bare / file.name).symlink_to(file)
    with pytest.raises(ClassifierError, match=r"lacks model\.safetensors"):
        teach(examples(), [str(bare)], task_set())
    with pytest.raises(ClassifierError, match="give --teachers"):
        prepare(settings(world, tmp_path / "m", unlabelled=[str(world / "data.jsonl")]))
    table = tmp_path / "table.csv"
    table.write_text("message\nhello\n")
    with pytest.raises(ClassifierError, match="no column 'text'"):
        prepare(settings(world, tmp_path / "m", teachers=[str(teacher)], unlabelled=[str(table)]))


def test_any_encoder_can_teach_and_says_that_it_cannot_serve(other_teacher, world, tmp_path):
    report = json.loads((other_teacher / "report.json").read_text())
    assert report["evaluation"]["validation_clean"]["tasks"]["colour"]["accuracy"] > 0.9
    assert "int8" not in report and not (other_teacher / "onnx").exists()
    taught = teach(examples(), [str(other_teacher)], task_set())
    for task, shares in taught.soft.items():
        assert np.allclose(shares.sum(1), 1, atol=1e-5), task
    assert taught.soft["colour"].argmax(1).tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(ClassifierError, match="no ONNX file"):
        Classifier.load(other_teacher)
    with pytest.raises(ClassifierError, match="teacher on a 'mpnet' encoder, which cannot be served"):
        export_folder(other_teacher, TEXTS, TEXTS)
    base = json.loads((other_teacher / "config.json").read_text())
    assert base["teacher"] and base["heads"] == {"colour": 3, "mood": 2}
    with pytest.raises(ClassifierError, match=r"'mpnet' encoder; expected DistilBERT.*with --teacher"):
        train.train(settings(world, tmp_path / "m", base=str(other_teacher.parent / "base")))


def test_a_teacher_is_trained_on_from_its_own_weights(other_teacher):
    again = MultiTaskTeacher.from_encoder(str(other_teacher), {"other": 2})
    before = MultiTaskTeacher.from_pretrained(other_teacher).base_model.state_dict()
    assert list(again.heads) == ["other"] == list(again.config.heads)
    assert all(torch.equal(value, before[key]) for key, value in again.base_model.state_dict().items())


def test_a_teacher_without_some_weights_is_one_clear_error(other_teacher, tmp_path):
    broken = Path(shutil.copytree(other_teacher, tmp_path / "broken"))
    weights = load_file(broken / WEIGHTS)
    weights.pop(next(key for key in weights if "layer.1." in key))
    save_file(weights, broken / WEIGHTS)
    with pytest.raises(ClassifierError, match=r"do not fit its config\.json"):
        MultiTaskTeacher.from_encoder(str(broken), {"other": 2})
    base = Path(shutil.copytree(other_teacher.parent / "base", tmp_path / "base"))
    weights = load_file(base / WEIGHTS)
    save_file({key: value for key, value in weights.items() if "layer.1." not in key}, base / WEIGHTS)
    with pytest.raises(ClassifierError, match=r"^'.*base' holds no whole model: \d+ of its weights are missing"):
        MultiTaskTeacher.from_encoder(str(base), {"other": 2})
    with pytest.raises(ClassifierError, match="is a teacher; train it on with --teacher"):
        load_encoder(str(other_teacher))


def test_a_teacher_that_is_killed_goes_on_where_it_was(other_teacher, world, tmp_path):
    values = {"base": str(other_teacher.parent / "base"), "teacher": True, "epochs": 2, "patience": 9}
    whole = train.train(settings(world, tmp_path / "whole", **values))
    with pytest.MonkeyPatch.context() as patch:
        save = Checkpoints.save

        def stop(self, *arguments):
            save(self, *arguments)
            raise KeyboardInterrupt

        patch.setattr(Checkpoints, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            train.train(settings(world, tmp_path / "cut", **values))
    cut = train.train(settings(world, tmp_path / "cut", **values), resume=True)
    assert (whole / "model.safetensors").read_bytes() == (cut / "model.safetensors").read_bytes()


def test_a_missing_teacher_encoder_says_what_to_give(world, tmp_path):
    with pytest.raises(ClassifierError, match=r"give a folder with config\.json"):
        train.train(settings(world, tmp_path / "m", base=str(tmp_path / "nothing"), teacher=True))
