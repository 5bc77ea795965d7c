"""A tiny model folder made in code: real files and a real graph, untrained weights."""

import os

# Before anything imports the libraries: no telemetry, no look-ups on the Hub.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from loopback_hub import LoopbackHub
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import DistilBertConfig

from classifier.desks import SUPPORT
from classifier.export import write_model_folder
from classifier.model import MultiTaskDistilBert
from classifier.predict import Classifier

# Loaded machines are slow; a test must not fail for that.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

SHARED = Path(__file__).parents[1].parent / "shared"
WORDS = "i you my the a card charged twice refund please cancel order urgent log in account hours help what are fraud"


def make_tokenizer() -> Tokenizer:
    """BERT's tokenizer over a vocabulary of some words, all letters and digits."""
    pieces = [*"abcdefghijklmnopqrstuvwxyz0123456789.,!?'"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces, *(f"##{piece}" for piece in pieces)]
    vocabulary += [word for word in WORDS.split() if word not in vocabulary]
    tokenizer = Tokenizer(models.WordPiece({piece: index for index, piece in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def make_model(tasks=SUPPORT, *, pooling="mean", seed=0, positions=64) -> MultiTaskDistilBert:
    """Two layers of 32 dimensions with random weights, heads large enough for clear answers."""
    torch.manual_seed(seed)
    config = DistilBertConfig(
        vocab_size=make_tokenizer().get_vocab_size(),
        dim=32,
        hidden_dim=64,
        n_layers=2,
        n_heads=4,
        max_position_embeddings=positions,
        initializer_range=0.3,
    )
    config.heads = {task.name: len(task.labels) for task in tasks.tasks}
    config.pooling, config.head_dropout = pooling, 0.1
    return MultiTaskDistilBert(config).eval()


@pytest.fixture(scope="session")
def _model() -> MultiTaskDistilBert:
    return make_model()


@pytest.fixture
def tiny_model(_model) -> MultiTaskDistilBert:
    """A tiny model that a test may change."""
    return copy.deepcopy(_model)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, _model) -> Path:
    """A finished model folder of the support desk, with int8 and float ONNX files."""
    return write_model_folder(
        tmp_path_factory.mktemp("models") / "tiny",
        copy.deepcopy(_model),
        SUPPORT,
        make_tokenizer(),
        max_tokens=32,
        samples=[*SUPPORT.examples, "please refund my card", "help"],
        float_onnx=True,
    )


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """A folder with a tiny encoder without dropout, a task set and data."""
    from colours import COLOURS, rows  # here, for it imports this file

    folder = tmp_path_factory.mktemp("world")
    encoder = make_model().distilbert
    encoder.config.dropout = encoder.config.attention_dropout = 0.0
    encoder.save_pretrained(folder / "base")
    make_tokenizer().save(str(folder / "base" / "tokenizer.json"))
    (folder / "tasks.json").write_text(json.dumps(COLOURS))
    (folder / "data.jsonl").write_text("\n".join(json.dumps(row) for row in rows(320)))
    return folder


@pytest.fixture
def own_folder(tiny_folder, tmp_path) -> Path:
    """A copy of the tiny folder that a test may damage."""
    import shutil

    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


@pytest.fixture
def free_port() -> int:
    """A port that nothing listens on."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A loopback Hub; the Hub's client in this process talks to it, with a cache and a token of its own."""
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    with LoopbackHub() as server:
        # The client reads its environment once, on import, into these public constants.
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "hf_write")
        disable_progress_bars()
        yield server
        enable_progress_bars()


@pytest.fixture(scope="session")
def classifier(tiny_folder) -> Classifier:
    """A classifier on the tiny folder."""
    return Classifier.load(tiny_folder)


@pytest.fixture(scope="session")
def gold_dev() -> list[dict]:
    """The twice-read development messages."""
    path = SHARED / "data/support/gold_dev.jsonl"
    if not path.is_file():
        pytest.skip(f"the development messages are not at {path}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def page_url(classifier) -> Iterator[str]:
    """The address of a running page on the tiny model."""
    import app

    demo = app.build_demo(classifier)
    _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True, mcp_server=app.mcp_installed())
    yield url
    demo.close()
