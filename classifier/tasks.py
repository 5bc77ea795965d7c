"""Task sets: what a model is asked, declared once and validated when made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from .errors import ClassifierError

Tone = Literal["neutral", "good", "warn", "bad"]

#: What the container of a model's heads, `torch.nn.ModuleDict`, calls its own, and what libraries add to it.
_OF_HEADS = """
T_destination add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda double dump_patches eval
extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu items keys load_state_dict
modules mtia named_buffers named_children named_modules named_parameters parameters pop register_backward_hook
register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
set_submodule share_memory smart_apply state_dict to to_empty train training type update values xpu zero_grad
"""

#: Keys of a result, or of a row of a table, beside the task names, and the tensors of a model's graph.
_OF_RESULTS = """
confidence probabilities route tokens truncated latency_ms model text input_ids attention_mask pooled
"""

#: Names that a task cannot have.
RESERVED_NAMES = frozenset([*_OF_RESULTS.split(), *_OF_HEADS.split()])


@dataclass(frozen=True)
class Label:
    """One possible answer to a task.

    Attributes:
        name: The label as it stands in data files and results, for instance ``"refund_request"``.
        description: When the label applies, in one sentence.
        icon: An emoji that stands beside the word on the page, never in its place.
        tone: How the page colours the label: ``neutral``, ``good``, ``warn`` or ``bad``.
    """

    name: str
    description: str = ""
    icon: str = ""
    tone: Tone = "neutral"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or self.name != self.name.strip():
            raise ClassifierError(f"A label's name is {self.name!r}; expected a text without blanks around it.")
        if self.tone not in get_args(Tone):
            raise ClassifierError(f"Label {self.name!r} has the tone {self.tone!r}; use one of {get_args(Tone)}.")

    @property
    def title(self) -> str:
        """The name as shown to people, for instance ``"Refund request"``."""
        return self.name.replace("_", " ").strip().capitalize()


@dataclass(frozen=True)
class Task:
    """One question with an ordered list of labels.

    Attributes:
        name: Key of the task in results and data files, an identifier such as ``"urgency"``.
        question: What is asked, in a few words for people.
        labels: The answers, in the order of the model's outputs. At least two.
        unsure_below: Answers with less confidence than this (0 to 1) are shown as unsure.
    """

    name: str
    question: str
    labels: tuple[Label, ...]
    unsure_below: float = 0.6

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise ClassifierError(f"Task name {self.name!r} is not an identifier; use letters, digits and '_'.")
        if self.name in RESERVED_NAMES:
            raise ClassifierError(
                f"Task name {self.name!r} is taken by the result or the libraries; choose another name, such as "
                f"{'task_' + self.name!r}, and map it to the column (--column NAME=COLUMN)."
            )
        if len(self.labels) < 2:
            raise ClassifierError(f"Task {self.name!r} has {len(self.labels)} label(s); it needs at least two.")
        repeated = sorted({name for name in self.label_names if self.label_names.count(name) > 1})
        if repeated:
            raise ClassifierError(f"Task {self.name!r} lists {', '.join(repeated)} more than once.")
        if not 0.0 <= self.unsure_below <= 1.0:
            raise ClassifierError(f"Task {self.name!r}: unsure_below is {self.unsure_below}; expected 0 to 1.")

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels in the order of the model's outputs."""
        return tuple(label.name for label in self.labels)

    def index(self, label: str) -> int:
        """Position of a label.

        Args:
            label: A label's name.

        Raises:
            ClassifierError: The task has no such label.
        """
        try:
            return self.label_names.index(label)
        except ValueError:
            raise ClassifierError(
                f"{label!r} is not a label of {self.name!r}; its labels are {', '.join(self.label_names)}."
            ) from None

    def label(self, name: str) -> Label:
        """The label of that name; raises ClassifierError when there is none."""
        return self.labels[self.index(name)]


@dataclass(frozen=True)
class TaskSet:
    """The tasks that one model answers in one pass.

    Attributes:
        name: Short name, for instance ``"support"``.
        title: Name for people.
        tasks: The tasks, in the order in which they are shown.
        examples: Messages that the page offers to try.
        mood_task: The task whose labels' tones choose the emotional markers of noise augmentation,
            if the set has one.
    """

    name: str
    title: str
    tasks: tuple[Task, ...]
    examples: tuple[str, ...] = ()
    mood_task: str | None = None

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ClassifierError(f"Task set {self.name!r} has no tasks; declare at least one.")
        repeated = sorted({name for name in self.task_names if self.task_names.count(name) > 1})
        if repeated:
            raise ClassifierError(f"Task set {self.name!r} lists {', '.join(repeated)} more than once.")
        if self.mood_task is not None:
            self.task(self.mood_task)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks in the order in which they are shown."""
        return tuple(task.name for task in self.tasks)

    def task(self, name: str) -> Task:
        """The task of that name.

        Raises:
            ClassifierError: The set has no such task.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        raise ClassifierError(f"{name!r} is not a task of {self.name!r}; its tasks are {', '.join(self.task_names)}.")

    def to_dict(self) -> dict[str, Any]:
        """The declaration as plain data, the form in which a model folder keeps it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TaskSet:
        """Read a declaration that `to_dict` wrote.

        Raises:
            ClassifierError: A key is missing or unknown, or a value breaks a rule of the set.
        """
        try:
            tasks = tuple(
                Task(**{**task, "labels": tuple(Label(**label) for label in task["labels"])}) for task in data["tasks"]
            )
            return cls(**{**data, "tasks": tasks, "examples": tuple(data.get("examples", ()))})
        except (TypeError, KeyError) as error:
            raise ClassifierError(
                f"The task set cannot be read ({error}); expected name, title and tasks, each task with name, "
                "question and labels, as `TaskSet.to_dict` writes them."
            ) from None
