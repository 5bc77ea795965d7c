import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from classifier.stream import stream_lines
from classifier.windows import WINDOW

ROOT = Path(__file__).parents[1]


def answers(classifier, lines, text_column=None):
    out = io.BytesIO()
    stream_lines(classifier, iter(lines), out, text_column)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_answers_come_in_order_and_keep_keys(classifier):
    lines = [b"please refund\n", b"\n", b'{"id": 7, "body": "help me"}\n', b'{"id": 8}\n', b"{not json\n"]
    found = answers(classifier, lines, "body")
    assert [row.get("id", row.get("text")) for row in found] == ["please refund", 7, 8, "{not json"]
    assert found[1]["route"]["action"]
    assert "expected a string" in found[2]["error"]


def test_an_error_of_the_input_is_not_taken_for_one_of_the_answer(classifier):
    (found,) = answers(classifier, [b'{"text": "help me", "error": "E42", "intent": "mine"}'])
    assert "error" not in found and (found["error_2"], found["intent_2"]) == ("E42", "mine")
    assert found["intent"] in classifier.tasks.task("intent").label_names


@pytest.mark.parametrize(
    "line",
    [
        b"na\xefve caf\xe9",
        b"\xef\xbb\xbfhelp me",
        rb'{"text": "hi \ud83d there"}',
        b'{"text":' + b"[" * 200_000,
        b'{"text": "help", "score": NaN}',
        b"\x00\xff\xfe",
    ],
)
def test_no_line_stops_the_stream(classifier, line):
    found = answers(classifier, [b"first please\n", line + b"\n", b"last please\n"])
    assert len(found) == 3
    assert [row["text"] for row in (found[0], found[2])] == ["first please", "last please"]
    assert "\ufeff" not in found[1]["text"] and found[1].get("score") is None


def test_a_failing_input_ends_the_stream(classifier):
    def lines():
        yield b"please help\n"
        raise OSError("gone")

    out = io.BytesIO()
    hook, threading.excepthook = threading.excepthook, lambda _: None
    try:
        stream_lines(classifier, lines(), out)
    finally:
        threading.excepthook = hook
    assert json.loads(out.getvalue())["text"] == "please help"


def test_the_input_is_read_no_further_than_needed(classifier):
    taken, gate, written = 0, threading.Event(), io.BytesIO()

    def lines():
        nonlocal taken
        for taken in range(1, 20 * WINDOW):
            yield b"please help\n"
            if taken == 10 * WINDOW:
                gate.set()

    class Slow(io.BytesIO):
        def write(self, data):
            if not self.tell():
                assert not gate.wait(2), "the whole input was read before the first answer was written"
            return super().write(data)

    stream_lines(classifier, lines(), written := Slow())
    assert len(written.getvalue().splitlines()) == 20 * WINDOW - 1


def test_each_line_is_answered_before_the_next_comes(tiny_folder):
    command = [sys.executable, "-m", "classifier", "score", "--stream", "-", "--model", str(tiny_folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for text in ("please refund my card", "what are your hours"):
            process.stdin.write(text + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["text"] == text
        process.stdin.close()
        assert process.wait() == 0
