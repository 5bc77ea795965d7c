"""Optimizer and precision of a run."""

from __future__ import annotations

import re

import torch
from torch import nn

from .model import MultiTaskModel
from .settings import TrainSettings


def make_optimizer(model: MultiTaskModel, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW; matrices decay, and each layer learns `layer_decay` times as fast as the one above."""
    layers = model.config.num_hidden_layers
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        layer = re.search(r"\.layers?\.(\d+)\.", name)
        depth = layers + 1 if name.startswith("heads.") else int(layer[1]) + 1 if layer else 0
        groups.setdefault((depth, parameter.ndim > 1), []).append(parameter)
    options = [
        {
            "params": parameters,
            "lr": settings.learning_rate * settings.layer_decay ** (layers + 1 - depth),
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (depth, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]
    return torch.optim.AdamW(options, lr=settings.learning_rate, fused=True)


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16: as asked, or where the hardware multiplies in it."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # CPUs without these instructions emulate bfloat16, slower than float32.
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16"))
