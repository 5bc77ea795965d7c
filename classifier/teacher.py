"""A teacher: the multi-task model on any encoder, to distil from; it is not served.

The export to int8 knows DistilBERT's layers only, while an encoder that is too large or too unusual to serve
may still be what a served model learns most from (Hinton et al. 2015, arXiv:1503.02531).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_model, save_model
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel, PreTrainedModel

from .errors import ClassifierError
from .export import load_trained, read_trained
from .folder import WEIGHTS, ModelFolder
from .model import MultiTaskModel, pretrained


class MultiTaskTeacher(MultiTaskModel):
    """Any encoder of transformers with a linear head per task on one pooled vector.

    Args:
        encoder: The encoder, its configuration extended as `MultiTaskModel` says.
    """

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.config, self.base_model = encoder.config, encoder
        # A pooler that nothing reads would be trained on nothing, which stops a run over several processes.
        if hasattr(encoder, "pooler"):
            encoder.register_module("pooler", None)
        self.add_heads()

    @classmethod
    def from_encoder(
        cls, base: str, heads: Mapping[str, int], *, revision: str = "main", pooling: str = "mean", dropout: float = 0.1
    ) -> MultiTaskTeacher:
        """New heads on a pretrained encoder, or on that of a teacher; see `MultiTaskDistilBert.from_encoder`.

        Raises:
            ClassifierError: `base` cannot be found, or is no encoder that transformers knows.
        """
        encoder: Any
        try:
            if getattr(AutoConfig.from_pretrained(base, revision=revision), "teacher", False):
                encoder = cls.from_pretrained(base).base_model
            else:
                encoder = pretrained(AutoModel, base, revision=revision)
        except (OSError, ValueError) as error:
            raise ClassifierError(
                f"No encoder can be loaded from {base!r}; give a folder with config.json and model.safetensors, "
                f"or the name of a repository on the Hub that can be reached. ({error})"
            ) from error
        encoder.config.update({"teacher": True, "heads": dict(heads), "pooling": pooling, "head_dropout": dropout})
        return cls(encoder)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and the weights."""
        self.config.save_pretrained(folder)
        save_model(self, str(Path(folder) / WEIGHTS))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> MultiTaskTeacher:
        """Read what `save_pretrained` wrote."""
        model = cls(AutoModel.from_config(AutoConfig.from_pretrained(folder)))
        load_model(model, str(Path(folder) / WEIGHTS))
        return model


def load_teacher(path: str | Path) -> tuple[ModelFolder, MultiTaskModel, Tokenizer]:
    """A model folder with its torch model, a teacher's or one that is served, as `export.load_trained` does."""
    folder, tokenizer = read_trained(path)
    if not folder.config.get("teacher"):
        return load_trained(path)
    return folder, MultiTaskTeacher.from_pretrained(folder.path).eval(), tokenizer
