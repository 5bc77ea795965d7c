import json

import pytest

gradio = pytest.importorskip("gradio")

from classifier.budget import LEVELS, Curve, at_level  # noqa: E402
from classifier.desks import SUPPORT  # noqa: E402
from classifier.folder import read_json, write_json  # noqa: E402
from classifier.policy_tab import _curve, _edited, policy_tab  # noqa: E402
from classifier.policy_view import effect, promise  # noqa: E402
from classifier.predict import Classifier  # noqa: E402
from classifier.routing import Policy  # noqa: E402

POLICY = Policy.for_tasks(SUPPORT)


@pytest.fixture
def messages():
    shares = {task.name: dict.fromkeys(task.label_names, 0.01) for task in SUPPORT.tasks}
    likely = {"intent": "general_question", "urgency": "low", "sentiment": "calm", "action": "auto_resolve"}
    for task, label in {**likely, "scope": "in_scope"}.items():
        shares[task][label] = 0.9
    return [("<i>Where is my lawyer?</i>", shares), ("Opening hours?", shares)]


def test_the_effect_of_a_change_is_counted_marked_and_escaped(messages):
    shown = effect(POLICY.changed(always_escalate=["lawyer"]), POLICY, messages, "Examples")
    assert "Examples: 1 of 2 automatic, 1 changed" in shown
    assert shown.count("class=changed") == 1
    assert "≠ Escalate to human <small>was Auto resolve" in shown
    assert "<i>" not in shown
    assert "0 changed" in effect(POLICY, POLICY, messages, "Examples")
    assert effect(POLICY, POLICY, [], "Your file") == ""


def test_the_budget_slider_tells_the_level_or_why_there_is_none():
    curve = Curve.of([0.9] * 400, [False] * 390 + [True] * 10)
    words, level = promise(curve, 0.05)
    assert level in LEVELS and f"{level:.1%} confidence" in words
    assert promise(curve, 0.001)[1] is None
    assert "cannot be promised" in promise(curve, 0.03)[0] or promise(curve, 0.03)[1]
    assert promise(None, 0.1)[1] is None


def test_an_edit_changes_only_its_value_and_a_wrong_one_is_told():
    text = json.dumps(POLICY.to_dict())
    changed = json.loads(_edited(text, lambda policy: at_level(policy, 0.8)))
    assert changed.pop("automatic_needs") == {"action": 0.8, "intent": 0.8, "scope": 0.8}
    assert changed == {key: value for key, value in POLICY.to_dict().items() if key != "automatic_needs"}
    with pytest.raises(gradio.Error, match="not JSON"):
        _edited("{", lambda policy: policy)
    with pytest.raises(gradio.Error, match="cannot be used"):
        _edited(text, lambda policy: policy.changed(unsure="fly"))


def test_the_tab_opens_no_public_endpoint_and_reads_the_curve(own_folder):
    file = own_folder / "calibration.json"
    write_json(file, {**read_json(file), "automation": Curve.of([0.9], [False]).to_dict()})
    classifier = Classifier.load(own_folder)
    assert _curve(classifier).n == 1
    with gradio.Blocks() as demo:
        policy_tab(classifier)
    assert demo.get_api_info() == {"named_endpoints": {}, "unnamed_endpoints": {}}
