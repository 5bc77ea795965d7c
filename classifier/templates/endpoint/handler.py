"""Answer requests of a Hugging Face Inference Endpoint with this repository's ONNX model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


class EndpointHandler:
    """The class that Inference Endpoints looks for.

    Args:
        path: The folder of the repository.
    """

    def __init__(self, path: str = "") -> None:
        folder = Path(path)
        files = [folder / "onnx" / name for name in ("model_int8.onnx", "model.onnx")]
        model = next(file for file in files if file.is_file())
        self.session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.labels = {
            task["name"]: [label["name"] for label in task["labels"]]
            for task in json.loads(metadata["task_set"])["tasks"]
        }
        calibration = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
        self.temperatures = {task: calibration["temperatures"].get(task, 1.0) for task in self.labels}
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(json.loads(metadata["max_tokens"]))
        self.tokenizer.enable_padding()

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """Classify messages.

        Args:
            data: ``"inputs"``: a message or a list of messages.

        Returns:
            For each message its most probable label per task, and all calibrated probabilities.
        """
        inputs = data["inputs"]
        encodings = self.tokenizer.encode_batch([inputs] if isinstance(inputs, str) else list(inputs))
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
        logits = self.session.run(list(self.labels), {"input_ids": ids, "attention_mask": mask})
        results: list[dict[str, Any]] = [{"probabilities": {}} for _ in encodings]
        for (task, labels), rows in zip(self.labels.items(), logits, strict=True):
            exponents = np.exp((rows - rows.max(1, keepdims=True)) / self.temperatures[task])
            for result, shares in zip(results, exponents / exponents.sum(1, keepdims=True), strict=True):
                result[task] = labels[shares.argmax()]
                result["probabilities"][task] = dict(zip(labels, shares.round(4).tolist(), strict=True))
        return results
