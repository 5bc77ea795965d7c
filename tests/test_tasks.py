import subprocess
import sys

import pytest

from classifier.desks import DESKS, SUPPORT, desk
from classifier.errors import ClassifierError
from classifier.policy import Policy
from classifier.tasks import RESERVED_NAMES, Label, Task, TaskSet

YES_NO = (Label("yes"), Label("no"))


def test_a_task_set_survives_writing_and_reading():
    for tasks in DESKS.values():
        assert TaskSet.from_dict(tasks.to_dict()) == tasks


def test_the_support_desk_answers_the_contract():
    assert {task.name: task.label_names for task in SUPPORT.tasks} == {
        "intent": ("refund_request", "billing_issue", "account_access", "technical_problem", "general_question"),
        "urgency": ("low", "medium", "high"),
        "sentiment": ("calm", "frustrated", "angry"),
        "action": ("auto_resolve", "request_more_info", "escalate_to_human"),
        "scope": ("in_scope", "out_of_scope"),
    }
    assert len(SUPPORT.examples) == 8
    assert all(label.description for task in SUPPORT.tasks for label in task.labels)


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_a_task_cannot_take_a_name_of_the_result_or_the_libraries(name):
    with pytest.raises(ClassifierError, match=f"choose another name, such as 'task_{name}'"):
        Task(name, "?", YES_NO)
    assert Task(f"task_{name}", "?", YES_NO)


def test_every_name_that_heads_cannot_have_is_reserved():
    pytest.importorskip("torch")
    # In a process of its own: libraries that other tests import add names, which differ from version to version.
    list_names = "import torch; print(*(name for name in dir(torch.nn.ModuleDict()) if name[0] != '_'))"
    own = subprocess.run([sys.executable, "-c", list_names], capture_output=True, text=True, check=True).stdout
    assert set(own.split()) <= RESERVED_NAMES


def test_a_desk_with_the_name_of_another_but_other_labels_gets_the_plain_policy():
    other = TaskSet("support", "Mine", (Task("intent", "?", YES_NO),))
    assert Policy.for_tasks(other).action_task is None
    assert Policy.for_tasks(SUPPORT).action_task == "action"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Task("two words", "?", YES_NO), "not an identifier"),
        (lambda: Task("t", "?", (Label("yes"),)), "at least two"),
        (lambda: Task("t", "?", (Label("yes"), Label("yes"))), "yes more than once"),
        (lambda: Task("t", "?", YES_NO, unsure_below=1.5), "expected 0 to 1"),
        (lambda: Label(" yes"), "without blanks"),
        (lambda: Label(5), "is 5; expected a text"),
        (lambda: Task(5, "?", YES_NO), "Task name 5 is not an identifier"),
        (lambda: Label("yes", tone="loud"), "tone 'loud'"),
        (lambda: TaskSet("s", "S", ()), "no tasks"),
        (lambda: TaskSet("s", "S", (Task("t", "?", YES_NO),) * 2), "t more than once"),
        (lambda: TaskSet("s", "S", (Task("t", "?", YES_NO),), mood_task="mood"), "'mood' is not a task"),
        (lambda: TaskSet.from_dict({"name": "s"}), "cannot be read"),
        (lambda: TaskSet.from_dict({**SUPPORT.to_dict(), "colour": "red"}), "cannot be read"),
        (lambda: SUPPORT.task("mood"), "its tasks are intent, urgency"),
        (lambda: SUPPORT.task("urgency").index("extreme"), "its labels are low, medium, high"),
        (lambda: desk("bakery"), "choose one of"),
    ],
)
def test_a_mistake_in_a_declaration_is_named(make, message):
    with pytest.raises(ClassifierError, match=message):
        make()


def test_labels_are_shown_as_words():
    assert SUPPORT.task("intent").label("refund_request").title == "Refund request"
