import json
import shutil

import pytest

from classifier.errors import ClassifierError
from classifier.folder import FORMAT, ModelFolder, write_json
from classifier.predict import Classifier


def change(path, **values):
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **values})


def test_a_folder_reads_back_what_was_written(tiny_folder):
    folder = ModelFolder.read(tiny_folder)
    assert folder.tasks.name == "support"
    assert folder.max_tokens == 32
    assert set(folder.temperatures) == set(folder.tasks.task_names)
    assert folder.config["model_type"] == "distilbert"


def test_a_newer_format_is_refused(own_folder):
    change(own_folder / "config.json", format=FORMAT + 1)
    with pytest.raises(ClassifierError, match=rf"has format {FORMAT + 1}; this version reads up to {FORMAT}"):
        ModelFolder.read(own_folder)


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("config.json", {"format": None}, "no format number"),
        ("config.json", {"task_set": {}}, "task set cannot be read"),
        ("config.json", {"max_tokens": 10_000}, "max_tokens is 10000"),
        ("calibration.json", {"temperatures": {"intent": 0}}, "temperature of 'intent' is 0"),
        ("policy.json", {"colour": "red"}, "colour"),
        ("policy.json", {"automatic_needs": {"mood": 0.5}}, "'mood' is not a task"),
    ],
)
def test_a_wrong_value_is_named_with_its_file(own_folder, file, values, message):
    change(own_folder / file, **values)
    with pytest.raises(ClassifierError, match=message):
        ModelFolder.read(own_folder)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_a_missing_file_is_named(own_folder, file):
    (own_folder / file).unlink()
    with pytest.raises(ClassifierError, match=file):
        ModelFolder.read(own_folder)


@pytest.mark.parametrize("file", ["config.json", "policy.json", "calibration.json"])
def test_half_a_file_is_no_file(own_folder, file):
    text = (own_folder / file).read_text(encoding="utf-8")
    (own_folder / file).write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(ClassifierError, match="cannot be read as JSON"):
        ModelFolder.read(own_folder)


def test_a_folder_without_policy_gets_its_desks_own(own_folder):
    before = ModelFolder.read(own_folder).policy
    (own_folder / "policy.json").unlink()
    assert ModelFolder.read(own_folder).policy == before


def test_a_missing_folder_says_what_to_give(tmp_path):
    with pytest.raises(ClassifierError, match="give a folder that `train` wrote, or a Hub name"):
        ModelFolder.read(tmp_path / "nothing")


def test_a_folder_without_onnx_says_how_to_make_it(own_folder):
    shutil.rmtree(own_folder / "onnx")
    with pytest.raises(ClassifierError, match="classifier export"):
        Classifier.load(own_folder)


def test_a_damaged_graph_is_refused(own_folder):
    graph = own_folder / "onnx/model_int8.onnx"
    graph.write_bytes(graph.read_bytes()[:1000])
    with pytest.raises(ClassifierError, match="no usable ONNX model"):
        Classifier.load(own_folder)


def test_a_damaged_tokenizer_is_refused(own_folder):
    (own_folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ClassifierError, match=r"The tokenizer .* cannot be read"):
        Classifier.load(own_folder)


def test_a_graph_of_another_task_set_is_refused(own_folder):
    config = json.loads((own_folder / "config.json").read_text(encoding="utf-8"))
    config["task_set"]["tasks"][1]["labels"].append({"name": "extreme"})
    write_json(own_folder / "config.json", config)
    with pytest.raises(ClassifierError, match=r"3 outputs for task 'urgency', .* declares 4 labels"):
        Classifier.load(own_folder)


def test_writing_leaves_no_half_file(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
