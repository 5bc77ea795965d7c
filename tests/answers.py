"""Messages with the answers of a model to them, as the budget counts them."""

from classifier import Policy
from classifier.desks import SUPPORT

POLICY = Policy.for_tasks(SUPPORT)


def message(action, confidence, right, text="hello"):
    probabilities = {}
    for task in SUPPORT.tasks:
        label = {"action": action, "intent": "general_question"}.get(task.name, task.label_names[0])
        # All doubt goes to one other label: spread over all, it would make high urgency likely enough to escalate.
        second = next(name for name in task.label_names if name != label)
        shares = {label: confidence, second: 1 - confidence}
        probabilities[task.name] = {name: shares.get(name, 0.0) for name in task.label_names}
    return text, probabilities, {"action": right}
