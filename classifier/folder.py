"""The model folder: all that serving needs, and the only thing that the two halves share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ClassifierError
from .policy import Policy
from .tasks import TaskSet

#: Number of the folder's format. Raise it when older code would misread a newer folder.
FORMAT = 1

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
ONNX_INT8 = "onnx/model_int8.onnx"
ONNX_FLOAT = "onnx/model.onnx"
TOKENIZER = "tokenizer.json"
WORDS = "words.json"
CALIBRATION = "calibration.json"
POLICY = "policy.json"
REPORT = "report.json"
CARD = "README.md"

#: What a model folder may hold: what is pushed, and what is pulled. Nothing of it runs when it is read.
FILES = (CONFIG, WEIGHTS, ONNX_INT8, ONNX_FLOAT, TOKENIZER, WORDS, CALIBRATION, POLICY, REPORT, CARD)

#: The model that comes with the package, so that it answers without network or account.
EMBEDDED = Path(__file__).parent / "default_model"


@dataclass(frozen=True)
class ModelFolder:
    """A validated model folder, without its weights.

    Attributes:
        path: The folder.
        config: All of config.json: the encoder's configuration, and ours beside it.
        tasks: The task set that the model answers.
        max_tokens: Longest input in tokens, the two special ones included; what is longer is cut.
        temperatures: Per task, what logits are divided by before the softmax.
        policy: The desk's routing policy.
    """

    path: Path
    config: Mapping[str, Any]
    tasks: TaskSet
    max_tokens: int
    temperatures: Mapping[str, float]
    policy: Policy

    @classmethod
    def read(cls, path: str | Path) -> ModelFolder:
        """Read and check a folder.

        Raises:
            ClassifierError: Something is missing, unreadable, newer than this package, or contradictory.
        """
        path = Path(path)
        if not path.is_dir():
            raise ClassifierError(
                f"There is no model folder {str(path)!r}; give a folder that `train` wrote, or a Hub name owner/name."
            )
        config = read_json(path / CONFIG)
        number = config.get("format")
        if not isinstance(number, int):
            raise ClassifierError(
                f"{str(path / CONFIG)!r} has no format number, so this is no model folder of this package; "
                "make one with `python -m classifier train`."
            )
        if number > FORMAT:
            raise ClassifierError(
                f"The model folder {str(path)!r} has format {number}; this version reads up to {FORMAT}. "
                "Upgrade the package, or choose an older revision of the model."
            )
        if not (path / TOKENIZER).is_file():
            raise ClassifierError(f"The model folder {str(path)!r} lacks {TOKENIZER}; export or download it again.")
        tasks = TaskSet.from_dict(config.get("task_set", {}))
        calibration = read_json(path / CALIBRATION) if (path / CALIBRATION).is_file() else {}
        policy = Policy.from_file(path / POLICY) if (path / POLICY).is_file() else Policy.for_tasks(tasks)
        policy.check(tasks)
        return cls(
            path=path,
            config=config,
            tasks=tasks,
            max_tokens=_max_tokens(config, path),
            temperatures=_temperatures(calibration, tasks, path),
            policy=policy,
        )

    def onnx_file(self, backend: str | None = None) -> tuple[Path, str]:
        """The ONNX file to serve and the name of its backend.

        Args:
            backend: ``"onnx-int8"``, ``"onnx-fp32"``, or None for the first that is there.

        Raises:
            ClassifierError: The folder has no such file.
        """
        files = {"onnx-int8": ONNX_INT8, "onnx-fp32": ONNX_FLOAT}
        as_float = " --float" if backend == "onnx-fp32" else ""
        for name, file in files.items():
            if backend in (None, name) and (self.path / file).is_file():
                return self.path / file, name
        raise ClassifierError(
            f"The model folder {str(self.path)!r} has no ONNX file for {backend or 'serving'}; "
            f"make it with `python -m classifier export --model {self.path}"
            f"{as_float} --samples FILE --data FILE`. Backends are {', '.join(files)}."
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of the folder; raises ClassifierError when it is missing or not one."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ClassifierError(f"{str(path)!r} cannot be read as JSON: {error}.") from None
    if not isinstance(data, dict):
        raise ClassifierError(f"{str(path)!r} holds a {type(data).__name__}; expected a JSON object.")
    return data


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON object so that a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def _max_tokens(config: Mapping[str, Any], path: Path) -> int:
    value, limit = config.get("max_tokens"), config.get("max_position_embeddings")
    if not isinstance(value, int) or not isinstance(limit, int) or not 3 <= value <= limit:
        raise ClassifierError(
            f"{str(path / CONFIG)!r}: max_tokens is {value!r}; expected 3 to max_position_embeddings ({limit!r})."
        )
    return value


def _temperatures(calibration: Mapping[str, Any], tasks: TaskSet, path: Path) -> dict[str, float]:
    found = calibration.get("temperatures", {})
    temperatures = {name: found.get(name, 1.0) for name in tasks.task_names}
    for name, value in temperatures.items():
        if not isinstance(value, (int, float)) or not 0 < value < 1000:
            raise ClassifierError(
                f"{str(path / CALIBRATION)!r}: the temperature of {name!r} is {value!r}; expected a number over 0."
            )
    return temperatures
