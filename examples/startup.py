"""Measure how long `python app.py` takes to its first answer, and its memory: `python examples/startup.py`.

Prints the wall time and, after 100 answers, the peak of resident memory. Unix only.
"""

from __future__ import annotations

import argparse
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
MESSAGE = {"data": ["What are your business hours?"]}


def ask(url: str) -> str:
    """One answer through the HTTP endpoint, as a stream of events."""
    event = httpx.post(url, json=MESSAGE, timeout=30).raise_for_status().json()["event_id"]
    return httpx.get(f"{url}/{event}", timeout=30).text


def main() -> None:
    """Start the app, wait for its first answer, ask a hundred more, stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/gradio_api/call/classify"
    started = time.perf_counter()
    server = subprocess.Popen([sys.executable, "app.py", "--port", str(port)], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while server.poll() is None:
            try:
                assert '"probabilities"' in ask(url)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        first = time.perf_counter() - started
        for _ in range(100):
            ask(url)
    finally:
        server.terminate()
        server.wait()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(f"first answer after {first:.1f} s, peak resident memory {peak:.0f} MB")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
