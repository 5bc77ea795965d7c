"""JSON that every reader takes."""

from __future__ import annotations

import json
import math
from typing import Any


def dump(value: Any) -> bytes:
    """A value as one line of JSON in UTF-8: what JSON has no word for (NaN, infinities) is null, a lone surrogate "?".

    Args:
        value: Plain data; dates and the like become texts.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, default=str)
    return text.encode("utf-8", "replace")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value
