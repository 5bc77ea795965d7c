"""`score --stream`: lines of standard input are answered as they come, so that a queue can feed it."""

from __future__ import annotations

import json
import threading
from queue import Empty, Queue
from typing import Any, BinaryIO

from .plain_json import dump
from .predict import Classifier
from .result import Result
from .windows import WINDOW


def stream_lines(classifier: Classifier, lines: BinaryIO, out: BinaryIO, text_column: str | None = None) -> None:
    """Answer lines as they come, each with one line of JSON, in order and flushed.

    A line is a message, or a JSON object whose keys are kept; one that is also a key of the answer gets ``_2``
    behind it. What has come while the model was at work is answered together, so that a full queue is worked off
    at the speed of a file; it waits in the pipe, not in memory.

    Args:
        classifier: The model.
        lines: The input, UTF-8; bytes that are not count as unknown characters.
        out: The output.
        text_column: Key of the message in objects; ``text`` if None.
    """
    queue: Queue[bytes | None] = Queue(maxsize=2 * WINDOW)

    def read() -> None:
        try:
            for line in lines:
                queue.put(line)
        finally:
            queue.put(None)

    threading.Thread(target=read, daemon=True).start()
    ended = False
    while not ended:
        arrived = [queue.get()]
        while len(arrived) < WINDOW and arrived[-1] is not None:
            try:
                arrived.append(queue.get_nowait())
            except Empty:
                break
        ended = arrived[-1] is None
        parsed = [_message(line, text_column or "text") for line in arrived if line and line.strip()]
        answers = classifier.classify_many((text for _, text in parsed), return_errors=True)
        for (own, _), answer in zip(parsed, answers, strict=True):
            found = answer.to_dict() if isinstance(answer, Result) else {"error": str(answer)}
            # A consumer takes a line with an error for one that failed, so only we may say that.
            kept = {f"{key}_2" if key in found or key == "error" else key: value for key, value in own.items()}
            out.write(dump({**kept, **found}) + b"\n")
        out.flush()


def _message(line: bytes, key: str) -> tuple[dict[str, Any], Any]:
    """The keys that a line's answer repeats, and its message."""
    text = line.decode("utf-8", "replace").strip().removeprefix("\ufeff")
    if text.startswith("{"):
        try:
            found = json.loads(text)
            return found, found.get(key)
        except (ValueError, RecursionError):
            pass  # a message that happens to begin with a brace
    return {"text": text}, text
