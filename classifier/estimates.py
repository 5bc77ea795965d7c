"""How long a training run would take on each hardware, and what it would cost, with what each figure rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.utils import get_session, hf_raise_for_status

from .errors import ClassifierError
from .examples import Examples
from .folder import CONFIG, EMBEDDED, read_json
from .hub_errors import explained
from .settings import TrainSettings

#: Characters of English text per token of BERT's vocabulary, and the two special tokens.
CHARACTERS_PER_TOKEN, SPECIAL_TOKENS = 4.3, 2

#: Seconds to wait for the Hub's prices.
TIMEOUT = 5.0

#: What a rate rests on, in the words of the page.
MEASURED, ASSUMED = "measured in the last run here", "assumed: a quarter of its peak"
RECORDED = "measured when the embedded model was trained on such a machine"

#: Tokens per second in that training's last run without R-Drop; what was published is a mean of weights.
RECORDED_TOKENS = 3223.0


@dataclass(frozen=True)
class Accelerator:
    """A graphics card to rent on the Hub.

    Attributes:
        title: Its name for people.
        peak_flops: Peak in the precision that training would use there, from its maker's data sheet.
        step_seconds: Least time of one optimizer step, assumed; small models run into it.
    """

    title: str
    peak_flops: float
    step_seconds: float


#: By flavour of the Hub. Nothing was measured on them. The T4 has no bfloat16, so its float32 peak counts.
ACCELERATORS = {
    "t4-small": Accelerator("NVIDIA T4", 8.1e12, 0.04),
    "l4x1": Accelerator("NVIDIA L4", 121e12, 0.03),
    "a10g-small": Accelerator("NVIDIA A10G", 70e12, 0.03),
    "a100-large": Accelerator("NVIDIA A100", 312e12, 0.03),
}

#: Share of its peak that training is assumed to reach on a graphics card.
SHARE_OF_PEAK = 0.25


@dataclass(frozen=True)
class Estimate:
    """A run on one hardware.

    Attributes:
        title: The hardware.
        seconds: Time of the training steps, without start-up, validation and export.
        dollars: What the Hub would charge for that time; None where its price isn't known.
        basis: What the speed rests on.
    """

    title: str
    seconds: float
    dollars: float | None
    basis: str


def estimate(
    train: Examples, settings: TrainSettings, parameters: int, rate_here: float | None = None
) -> list[Estimate]:
    """Estimate a run on this machine, if a run of it is known, and on hardware of the Hub.

    Args:
        train: The messages to train on.
        settings: The run's settings.
        parameters: Parameters of the encoder's layers, embeddings left out.
        rate_here: Operations per second that an earlier run reached on this machine, None if there was none.
    """
    tokens = sum(min(len(text) / CHARACTERS_PER_TOKEN + SPECIAL_TOKENS, settings.max_tokens) for text in train.texts)
    per_epoch, steps = settings.steps_per_epoch(len(train)), settings.steps(len(train))
    work = operations(parameters, tokens / per_epoch, settings.r_drop)
    prices = hub_prices()

    def row(title: str, flavor: str, step_seconds: float, basis: str) -> Estimate:
        price = prices.get(flavor)
        seconds = steps * step_seconds
        return Estimate(title, seconds, None if price is None else seconds / 3600 * price, basis)

    rows = [] if rate_here is None else [row("This machine", "", work / rate_here, MEASURED)]
    rows.append(row("CPU basic, 2 cores", "cpu-basic", work / recorded_rate(), RECORDED))
    for flavor, card in ACCELERATORS.items():
        seconds = max(work / (SHARE_OF_PEAK * card.peak_flops), card.step_seconds)
        rows.append(row(card.title, flavor, seconds, ASSUMED))
    return rows


def operations(parameters: int, tokens: float, r_drop: float = 0.0) -> float:
    """Floating-point operations that training on so many tokens takes.

    Six per token and parameter (Kaplan et al. 2020, arXiv:2001.08361); R-Drop makes each pass twice.
    """
    return 6 * parameters * tokens * (2 if r_drop else 1)


def recorded_rate() -> float:
    """Operations per second that the training of the embedded model reached, on two cores."""
    return operations(encoder_parameters(read_json(EMBEDDED / CONFIG)), RECORDED_TOKENS)


def rate_of_run(settings: TrainSettings, steps: tuple[Mapping[str, Any], ...]) -> float | None:
    """Operations per second that a run reached.

    Args:
        settings: The run's settings.
        steps: The lines of its log.

    Returns:
        The median, None before the log holds a speed or when the encoder's size isn't known.
    """
    speeds = [line["tokens_per_second"] for line in steps if "tokens_per_second" in line]
    try:
        parameters = encoder_parameters(encoder_config(settings.base, settings.revision))
    except ClassifierError:
        return None
    return operations(parameters, float(np.median(speeds)), settings.r_drop) if speeds else None


def hub_prices() -> dict[str, float]:
    """Dollars per hour of each flavour for Spaces, as the Hub lists them now; empty while it is out of reach."""
    try:
        with explained("ask for prices"):
            # What HfApi.list_spaces_hardware asks, which has no timeout: a visitor waits for this.
            response = get_session().get(f"{HfApi().endpoint}/api/spaces/hardware", timeout=TIMEOUT)
            hf_raise_for_status(response)
            listed = response.json()
    except ClassifierError:
        return {}
    return {row["name"]: 60 * row["unitCostUSD"] for row in listed if row["unitLabel"] == "minute"}


def encoder_config(base: str, revision: str = "main") -> dict[str, Any]:
    """The config.json of an encoder.

    Args:
        base: A folder, or the name of a Hub repository.
        revision: Commit, tag or branch of the repository.

    Raises:
        ClassifierError: It cannot be had.
    """
    if Path(base).is_dir():
        return read_json(Path(base) / CONFIG)
    with explained(f"read the size of {base}"):
        return read_json(Path(hf_hub_download(base, CONFIG, revision=revision)))


def encoder_parameters(config: Mapping[str, Any]) -> int:
    """Parameters of a BERT's or DistilBERT's layers, from its config.json."""
    layers = config.get("n_layers", config.get("num_hidden_layers"))
    width = config.get("dim", config.get("hidden_size"))
    inner = config.get("intermediate_size", config.get("hidden_dim"))
    if not (isinstance(layers, int) and isinstance(width, int) and isinstance(inner, int)):
        raise ClassifierError("The encoder's config.json names no layers and sizes; choose a BERT or DistilBERT.")
    return layers * (4 * width * width + 2 * width * inner)
