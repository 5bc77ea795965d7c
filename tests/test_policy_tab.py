import json

import pytest

gradio = pytest.importorskip("gradio")

from waiting import finished  # noqa: E402

from classifier import ClassifierError, policy_form  # noqa: E402
from classifier.automation import fingerprint, remembered  # noqa: E402
from classifier.budget import LEVELS, Curve  # noqa: E402
from classifier.desks import SUPPORT  # noqa: E402
from classifier.folder import read_json, write_json  # noqa: E402
from classifier.jobs import JobQueue  # noqa: E402
from classifier.policy import Policy  # noqa: E402
from classifier.policy_tab import START, UNCOVERED, _PolicyTab  # noqa: E402
from classifier.policy_view import LISTED, effect, known, promise  # noqa: E402
from classifier.predict import Classifier  # noqa: E402

POLICY = Policy.for_tasks(SUPPORT)
EDITED = POLICY.changed(always_escalate=["parcel"])


def shares(**likely):
    found = {task.name: dict.fromkeys(task.label_names, 0.01) for task in SUPPORT.tasks}
    calm = {"intent": "general_question", "urgency": "low", "sentiment": "calm", "action": "auto_resolve"}
    for task, label in {**calm, "scope": "in_scope", **likely}.items():
        found[task][label] = 0.9
    return found


MESSAGES = [known(POLICY, "<i>Where is my parcel?</i>", shares()), known(POLICY, "Opening hours?", shares())]


def test_the_effect_of_a_change_is_counted_marked_and_escaped():
    shown = effect(EDITED, MESSAGES, "Examples")
    assert "Examples: 1 of 2 automatic (was 2), 1 changed" in shown
    assert shown.count("class=changed") == 1
    assert "≠ Escalate to human <small>was Auto resolve" in shown
    assert "<i>" not in shown
    assert "2 of 2 automatic, 0 changed" in effect(POLICY, MESSAGES, "Examples")


def test_of_many_messages_those_that_change_are_listed_first():
    shown = effect(EDITED, [MESSAGES[1]] * 500 + [MESSAGES[0]], "Your file")
    assert "500 of 501 automatic (was 501), 1 changed" in shown
    rows = shown.split("<tbody>")[1].split("</tr>")[:-1]
    assert len(rows) == LISTED and "parcel" in rows[0] and "parcel" not in rows[1]


def test_fragile_messages_stay_with_a_person_under_an_edited_policy():
    fragile = known(POLICY, "Opening hours?", shares(), True)
    assert not fragile.automatic
    assert "0 of 1 automatic, 0 changed" in effect(POLICY, [fragile], "Your message")
    assert "1 of 1 automatic (was 0)" in effect(POLICY.changed(automatic_when_fragile=True), [fragile], "x")


def test_the_budget_slider_tells_the_level_or_why_there_is_none():
    curve = Curve.of([0.9] * 400, [False] * 390 + [True] * 10)
    words, level = promise(curve, 0.05)
    assert level in LEVELS and f"{level:.1%} confidence" in words
    assert promise(curve, 0.001)[1] is None
    words, level = promise(Curve.of([0.9] * 40, [False] * 40), 0.05)
    assert level is None and "cannot be promised from 40 labelled messages; about 59 are needed" in words
    assert promise(None, 0.1)[1] is None


def test_every_field_of_the_form_changes_only_its_value():
    before = POLICY.to_dict()
    queues = policy_form.queue_rows(POLICY)
    costs = policy_form.cost_rows(POLICY)
    for changed, key, value in (
        (policy_form.with_need("intent", POLICY, 80), "automatic_needs", {**before["automatic_needs"], "intent": 0.8}),
        (policy_form.with_terms(POLICY, " lawyer*, ,my data,"), "always_escalate", ["lawyer*", "my data"]),
        (policy_form.with_queues(POLICY, [*queues[:-1], [queues[-1][0], "front"]]), "default_queue", "front"),
    ):  # fmt: skip
        assert changed.to_dict() == {**before, key: value}
    assert policy_form.with_costs(POLICY, costs) == POLICY
    assert policy_form.with_queues(POLICY, queues) == POLICY
    costs[0][1] = "7"
    assert policy_form.with_costs(POLICY, costs).costs["auto_resolve"]["auto_resolve"] == 7


def test_faults_in_the_form_are_told_in_one_sentence():
    with pytest.raises(ClassifierError, match="not JSON"):
        policy_form.read("{", SUPPORT)
    with pytest.raises(ClassifierError, match="treshold"):
        policy_form.read(json.dumps({**POLICY.to_dict(), "treshold": 1}), SUPPORT)
    with pytest.raises(ClassifierError, match="'mood' is not a task"):
        policy_form.read(json.dumps({**POLICY.to_dict(), "automatic_needs": {"mood": 0.5}}), SUPPORT)
    with pytest.raises(ClassifierError, match="A cost is no number"):
        policy_form.with_costs(POLICY, [["x", "much", 1, 2]] * 3)
    with pytest.raises(ClassifierError, match="A cost is no number"):
        policy_form.with_costs(POLICY, [["x", -1, 1, 2]] * 3)
    with pytest.raises(ClassifierError, match="If all costs are 0"):
        policy_form.with_costs(POLICY, [["x", 0, 0, 0]] * 3)
    with pytest.raises(
        ClassifierError, match=r"^No message can hold “\*” or “\*\*”: a term needs letters or digits\.$"
    ):
        policy_form.with_terms(POLICY, '*, **, , "x" <b>')
    with pytest.raises(ClassifierError, match="A queue has no name"):
        policy_form.with_queues(POLICY, [*policy_form.queue_rows(POLICY)[:-1], ["", " "]])


@pytest.fixture
def ui(own_folder, tmp_path):
    """The tab on a folder that holds a curve, and the queue of files that it looks at."""
    file = own_folder / "calibration.json"
    curve = Curve.of([0.8] * 300 + [0.6] * 50, [False] * 300 + [True] * 50)
    write_json(file, {**read_json(file), "automation": {**curve.to_dict(), "policy": fingerprint(POLICY)}})
    jobs = JobQueue(Classifier.load(own_folder), tmp_path / "jobs")
    with gradio.Blocks() as demo, gradio.Tab("Policy") as tab:
        built = _PolicyTab(jobs, [gradio.State(None), gradio.BrowserState("")])
        built.build()
        built.connect(tab)
    assert demo.get_api_info() == {"named_endpoints": {}, "unnamed_endpoints": {}}
    return built


def test_the_budget_decides_again_on_message_and_file_without_the_model(ui, tmp_path, monkeypatch):
    (tmp_path / "in.csv").write_text("message\nplease refund my parcel\nwhat are your hours\n\n")
    job = finished(ui.jobs.submit(tmp_path / "in.csv"))
    monkeypatch.setattr(ui.jobs.classifier, "_run", None)
    message = ("Where is my parcel?", shares(), None)
    text = policy_form.text_of(EDITED.changed(always_escalate=POLICY.always_escalate))
    shown = ui._keep_budget(text, 5, message, job.id)
    assert set(json.loads(shown[ui.policy])["automatic_needs"].values()) == {0.605}
    assert "at most 5.0% of automatic answers" in shown[ui.promised]
    assert "1 of 1 automatic" in shown[ui.on_message]
    assert "in.csv: " in shown[ui.on_file] and "of 2 automatic" in shown[ui.on_file]
    unpromised = ui._keep_budget(text, 0.1, message, job.id)
    assert json.loads(unpromised[ui.policy]) == json.loads(text)
    assert "cannot be promised" in unpromised[ui.promised]


def test_a_promise_is_not_told_of_other_rules_than_it_was_counted_with(ui):
    shown = ui._keep_budget(policy_form.text_of(EDITED), 5, None, "")
    assert UNCOVERED in shown[ui.promised]
    assert remembered(ui.jobs.classifier.folder.path, EDITED) is None


def test_a_fault_is_told_under_its_field_until_it_is_mended(ui):
    text = policy_form.text_of(POLICY)
    refused = ui._changed(text, ui.terms, lambda policy: policy_form.with_terms(policy, "*"), None, "")
    [(place, told)] = refused.items()
    assert place is ui.faults[ui.terms] and told.visible and "No message can hold “*”" in told.value
    mended = ui._changed(text, ui.terms, lambda policy: policy_form.with_terms(policy, "parcel"), None, "")
    assert not mended[place].visible


def test_starting_over_puts_the_budget_back_too(ui):
    shown = ui._start_over(None, "")
    assert shown[ui.budget] == START and "Move the slider" in shown[ui.promised]
    assert json.loads(shown[ui.policy]) == POLICY.to_dict()


def test_before_a_message_and_a_file_the_tab_says_how_to_get_there(ui):
    shown = ui._show(policy_form.text_of(POLICY), None, "forgotten")
    assert "Analyze a message" in shown[ui.on_message]
    assert "Classify a file" in shown[ui.on_file]
    assert f"of {len(SUPPORT.examples)} automatic, 0 changed" in shown[ui.on_examples]
