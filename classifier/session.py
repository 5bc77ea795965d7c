"""A model's session of ONNX Runtime, and the cores that it may use."""

from __future__ import annotations

import os
from pathlib import Path

import onnxruntime

from .errors import ClassifierError


def available_cores() -> int:
    """Cores that this process may use: its CPU mask and, in containers, its CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, round(int(quota) / int(period))))
    except (OSError, ValueError):
        return cores


def open_session(path: Path, cores: int = 1) -> onnxruntime.InferenceSession:
    """A session of ONNX Runtime on the processor.

    Args:
        path: The ONNX file.
        cores: Cores that share a run. Take one for batches: side by side they use the cores twice as well as
            threads that share a batch, which wait for each other at every product.

    Raises:
        ClassifierError: The file is no usable ONNX model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores
    # Between messages the cores belong to others.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exception classes have no public name
        raise ClassifierError(
            f"{str(path)!r} is no usable ONNX model ({error}); export or download the model again."
        ) from error
