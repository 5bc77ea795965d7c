"""Classify customer messages: intent, urgency, sentiment, action and scope in one pass, and a route with reasons.

Importing the package loads neither torch nor ONNX Runtime; each public name brings in what it needs when
it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import ClassifierError
    from .policy import Policy
    from .predict import Classifier
    from .reasons import Route
    from .result import Result
    from .tasks import Label, Task, TaskSet

__version__ = "0.1.0"

_HOMES = {
    "Classifier": "predict",
    "ClassifierError": "errors",
    "Label": "tasks",
    "Policy": "policy",
    "Result": "result",
    "Route": "reasons",
    "Task": "tasks",
    "TaskSet": "tasks",
}

__all__ = ["Classifier", "ClassifierError", "Label", "Policy", "Result", "Route", "Task", "TaskSet"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
