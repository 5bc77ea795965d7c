"""Sliders whose number can be typed. Only modules of the page import this: Gradio takes seconds to load."""

from __future__ import annotations

from typing import Any

import gradio as gr


def moves(slider: gr.Slider) -> list[Any]:
    """The events of a visitor who moves a slider: dragged, typed, or put back by its own arrow."""
    return [slider.input, slider.release]


def in_range(slider: gr.Slider, place: int) -> str:
    """JavaScript that brings a typed number into the slider's range before it is sent.

    The slider shows a number out of range while it is typed and corrects it only afterwards; Gradio refuses it.

    Args:
        slider: The slider.
        place: Where it stands among the inputs of the event.
    """
    low, high = slider.minimum, slider.maximum
    return (
        f"(...values) => values.map((value, at) => at === {place} "
        f"? Math.min({high}, Math.max({low}, value ?? {low})) : value)"
    )
