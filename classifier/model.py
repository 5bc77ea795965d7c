"""The multi-task model: one encoder, one pooled vector, one linear head per task."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    DistilBertPreTrainedModel,
    PretrainedConfig,
)

from .errors import ClassifierError


class MultiTaskModel(nn.Module):
    """What the served model and a teacher share: an encoder (`base_model`), pooling, and a linear head per task.

    The encoder's configuration has three further values: `heads` (task name to number of labels),
    `pooling` (``"mean"`` over the tokens, as sentence encoders are trained, or ``"first"``, the first
    token's vector) and `head_dropout`.
    """

    config: Any
    base_model: nn.Module
    save_pretrained: Callable[..., None]

    def add_heads(self) -> None:
        """Make the heads that the configuration names.

        Raises:
            ClassifierError: The pooling is unknown, or a task has a name that cannot be a head's.
        """
        if self.config.pooling not in ("mean", "first"):
            raise ClassifierError(f"pooling is {self.config.pooling!r}; use 'mean' or 'first'.")
        self.dropout = nn.Dropout(self.config.head_dropout)
        width = self.config.hidden_size
        try:
            self.heads = nn.ModuleDict({name: nn.Linear(width, labels) for name, labels in self.config.heads.items()})
        except KeyError as error:
            raise ClassifierError(f"A task has a name that torch or a library uses ({error}); rename it.") from None

    def pool(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode messages into one vector each.

        Args:
            input_ids: Token ids, (batch, tokens).
            attention_mask: 1 for tokens, 0 for padding, (batch, tokens).

        Returns:
            Pooled vectors, (batch, hidden_size).
        """
        hidden = self.base_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.config.pooling == "first":
            return hidden[:, 0]
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Logits of every head.

        Args:
            input_ids: Token ids, (batch, tokens).
            attention_mask: 1 for tokens, 0 for padding, (batch, tokens).

        Returns:
            ``"pooled"``, (batch, hidden_size), and for each task its logits, (batch, labels).
        """
        pooled = self.pool(input_ids, attention_mask)
        dropped = self.dropout(pooled)
        return {"pooled": pooled, **{name: head(dropped) for name, head in self.heads.items()}}


class MultiTaskDistilBert(MultiTaskModel, DistilBertPreTrainedModel):
    """The model that is served: DistilBERT with a linear head per task on one pooled vector."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.add_heads()
        self.post_init()

    @classmethod
    def from_encoder(
        cls,
        base: str,
        heads: Mapping[str, int],
        *,
        revision: str = "main",
        pooling: str = "mean",
        dropout: float = 0.1,
    ) -> MultiTaskDistilBert:
        """New heads on a pretrained encoder.

        Args:
            base: A folder or Hub repository with a DistilBERT or BERT encoder.
            heads: Task name to number of labels.
            revision: Commit, tag or branch of a Hub repository.
            pooling: ``"mean"`` or ``"first"``.
            dropout: Dropout of the pooled vector before the heads.

        Raises:
            ClassifierError: As `load_encoder`.
        """
        encoder = load_encoder(base, revision=revision)
        config = DistilBertConfig.from_dict(encoder.config.to_dict())
        config.heads, config.pooling, config.head_dropout = dict(heads), pooling, dropout
        model = cls(config)
        model.distilbert.load_state_dict(encoder.state_dict())
        return model


def load_encoder(base: str, *, revision: str = "main") -> DistilBertModel:
    """Load a DistilBERT encoder in float32, converting BERT checkpoints on the way.

    Args:
        base: A folder or Hub repository.
        revision: Commit, tag or branch of a Hub repository.

    Raises:
        ClassifierError: `base` cannot be found, lacks weights, or its architecture is neither BERT nor DistilBERT.
    """
    config = pretrained_config(base, revision=revision)
    kind = config.model_type
    if getattr(config, "teacher", False):
        raise ClassifierError(
            f"{base!r} is a teacher; train it on with --teacher, or learn from it with --teachers and another --base."
        )
    if kind == "distilbert":
        return pretrained(DistilBertModel, base, revision=revision)
    if kind == "bert":
        return bert_to_distilbert(pretrained(BertModel, base, revision=revision, add_pooling_layer=False))
    raise ClassifierError(
        f"{base!r} is a {kind!r} encoder; expected DistilBERT, or BERT, which is converted. "
        "Choose for instance distilbert-base-uncased or sentence-transformers/all-MiniLM-L6-v2; with --teacher it "
        "can be trained to teach such a model."
    )


def pretrained_config(base: str, *, revision: str = "main") -> PretrainedConfig:
    """The configuration of an encoder; the arguments are `load_encoder`'s.

    Raises:
        ClassifierError: There is none, or transformers does not know its kind.
    """
    try:
        return AutoConfig.from_pretrained(base, revision=revision)
    except (OSError, ValueError) as error:
        raise _no_encoder(base, error) from error


def pretrained(kind: Any, base: str, **options: Any) -> Any:
    """A model of transformers in float32, with all of its weights.

    Args:
        kind: The model's class, or ``AutoModel``.
        base: A folder or Hub repository.
        options: What else ``from_pretrained`` takes.

    Raises:
        ClassifierError: It cannot be loaded, or weights are missing: transformers would only warn of that, and go on
            with random ones.
    """
    try:
        model, found = kind.from_pretrained(base, dtype=torch.float32, output_loading_info=True, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _no_encoder(base, error) from error
    # Nothing reads the pooler.
    missing = sorted(key for key in found["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ClassifierError(
            f"{base!r} holds no whole model: {len(missing)} of its weights are missing, such as {missing[0]!r}. "
            "Give the folder or repository of a pretrained encoder, or a model folder that `train` wrote."
        )
    return model


def _no_encoder(base: str, error: Exception) -> ClassifierError:
    return ClassifierError(
        f"No encoder can be loaded from {base!r}; give a folder with config.json and model.safetensors, "
        f"or the name of a repository on the Hub that can be reached. ({error})"
    )


#: Names of a BERT layer's parts, and of the same parts in DistilBERT.
_PARTS = {
    r"encoder\.layer\.": "transformer.layer.",
    r"attention\.self\.query": "attention.q_lin",
    r"attention\.self\.key": "attention.k_lin",
    r"attention\.self\.value": "attention.v_lin",
    r"attention\.output\.dense": "attention.out_lin",
    r"attention\.output\.LayerNorm": "sa_layer_norm",
    r"intermediate\.dense": "ffn.lin1",
    r"(?<=\d\.)output\.dense": "ffn.lin2",
    r"(?<=\d\.)output\.LayerNorm": "output_layer_norm",
}


def bert_to_distilbert(bert: BertModel) -> DistilBertModel:
    """Turn a BERT encoder into DistilBERT's architecture without loss.

    The layers map one to one. DistilBERT has no token types: a single message is all of type 0, so that
    type's vector is added to every position embedding and the sum that enters the first layer norm stays
    the same. The pooler is dropped; nothing of it reaches the hidden states.

    Args:
        bert: A BERT encoder.

    Returns:
        An encoder with the same hidden states for single messages, up to rounding.

    Raises:
        ClassifierError: The model is a decoder or its layer norms differ from DistilBERT's.
    """
    source = bert.config
    # DistilBERT fixes the layer norms' epsilon at 1e-12, BERT's default.
    if source.is_decoder or source.layer_norm_eps > 1e-11:
        raise ClassifierError(
            f"This BERT is a decoder ({source.is_decoder}) or has layer_norm_eps {source.layer_norm_eps}; "
            "only encoders with 1e-12, as BERT's and MiniLM's, map onto DistilBERT without loss."
        )
    config = DistilBertConfig(
        vocab_size=source.vocab_size,
        max_position_embeddings=source.max_position_embeddings,
        dim=source.hidden_size,
        hidden_dim=source.intermediate_size,
        n_layers=source.num_hidden_layers,
        n_heads=source.num_attention_heads,
        dropout=source.hidden_dropout_prob,
        attention_dropout=source.attention_probs_dropout_prob,
        activation=source.hidden_act,
        initializer_range=source.initializer_range,
        pad_token_id=source.pad_token_id,
    )
    state = {}
    for key, value in bert.state_dict().items():
        if key.startswith("pooler.") or "token_type_embeddings" in key:
            continue
        for pattern, part in _PARTS.items():
            key = re.sub(pattern, part, key)
        state[key] = value
    positions = "embeddings.position_embeddings.weight"
    state[positions] = state[positions] + bert.embeddings.token_type_embeddings.weight[0]
    distilbert = DistilBertModel(config)
    distilbert.load_state_dict(state)
    return distilbert.eval()
