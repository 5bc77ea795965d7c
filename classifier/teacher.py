"""A teacher: the multi-task model on any encoder, to distil from; it is not served.

The export to int8 knows DistilBERT's layers only, while an encoder that is too large or too unusual to serve
may still be what a served model learns most from (Hinton et al. 2015, arXiv:1503.02531).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from tokenizers import Tokenizer
from transformers import AutoModel, PreTrainedModel

from .errors import ClassifierError
from .export import load_trained, read_trained
from .folder import WEIGHTS, ModelFolder
from .hub import model_folder
from .model import MultiTaskModel, pretrained, pretrained_config


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
            ClassifierError: `base` cannot be found, lacks weights, or is no encoder that transformers knows.
        """
        encoder: Any
        if getattr(pretrained_config(base, revision=revision), "teacher", False):
            encoder = cls.from_pretrained(model_folder(base, revision)).base_model
        else:
            encoder = pretrained(AutoModel, base, revision=revision)
        encoder.config.update({"teacher": True, "heads": dict(heads), "pooling": pooling, "head_dropout": dropout})
        return cls(encoder)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and the weights."""
        self.config.save_pretrained(folder)
        save_model(self, str(Path(folder) / WEIGHTS))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> MultiTaskTeacher:
        """Read what `save_pretrained` wrote.

        Raises:
            ClassifierError: The weights cannot be read, or do not fit the configuration.
        """
        model = cls(AutoModel.from_config(pretrained_config(str(folder))))
        try:
            load_model(model, str(Path(folder) / WEIGHTS))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise ClassifierError(
                f"The weights in {str(folder)!r} do not fit its config.json; train or download it again. ({error})"
            ) from error
        return model


def load_teacher(path: str | Path) -> tuple[ModelFolder, MultiTaskModel, Tokenizer]:
    """A model folder with its torch model, a teacher's or one that is served, as `export.load_trained` does."""
    folder, tokenizer = read_trained(path)
    if not folder.config.get("teacher"):
        return load_trained(path)
    return folder, MultiTaskTeacher.from_pretrained(folder.path).eval(), tokenizer
