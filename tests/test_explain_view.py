import re

from classifier.changes import Change
from classifier.desks import SUPPORT
from classifier.explain import Explanation, Part, explain
from classifier.explain_view import explanation, strength
from classifier.policy import Policy

POLICY = Policy.for_tasks(SUPPORT)


def test_strengths_follow_their_limits():
    assert [strength(w) for w in (0.5, 0.3, 0.2, 0.05, 0.0, -0.05, -0.2)] == [
        "strong", "strong", "clear", "slight", "", "", "against",
    ]  # fmt: skip


def test_every_word_is_shown_once_for_each_task_and_escaped(classifier):
    text = "please <b>refund</b> ${card} now"
    found = explain(text, classifier.probabilities, classifier.policy)
    shown = explanation(found, SUPPORT, classifier.policy, text)
    assert "Recommended action: " in shown and "Action: " not in shown
    assert "<b>refund" not in shown
    assert "${card}" not in shown
    assert shown.count("refund") >= len(SUPPORT.tasks)


def test_weights_are_told_without_colours_too():
    labels = {task.name: task.label_names[0] for task in SUPPORT.tasks}
    weights = dict.fromkeys(labels, 0.4)
    parts = (Part("Now", 0, 3, weights), Part("please", 4, 10, dict.fromkeys(labels, -0.2)))
    route = POLICY.route({task.name: dict.fromkeys(task.label_names, 0.5) for task in SUPPORT.tasks})
    change = Change("Without “Now”", "please", "escalate_to_human", "auto_resolve")
    shown = explanation(Explanation(labels, parts, route, change, 3), SUPPORT, POLICY, "Now please")
    assert re.search(
        r'<mark class="strong" title="\+40 points">.*?▲▲.*?Now</mark><span class="sr-only"> \(\+40 points\)', shown
    )
    assert "(-20 points)" in shown
    assert "Without “Now” the action changes" in shown
