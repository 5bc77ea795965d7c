import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier import Classifier, ClassifierError, Policy
from classifier.changes import decider, is_fragile, noisy, without
from classifier.desks import SUPPORT
from classifier.explain import MAX_PARTS, explain, occlude, word_spans
from classifier.faithful import faithfulness, latency
from classifier.folder import EMBEDDED, write_json

POLICY = Policy.for_tasks(SUPPORT)


def reader(danger=(), needed=1):
    """A model that can be read: urgent where enough of the given words stand, else a calm question."""

    def run(texts):
        found = []
        for text in texts:
            words = re.findall(r"[\w']+", text)
            urgent = sum(word in danger for word in words) >= needed
            shares = {task.name: dict.fromkeys(task.label_names, 0.0) for task in SUPPORT.tasks}
            for task, label in {
                "intent": "general_question",
                "urgency": "high" if urgent else "low",
                "sentiment": "calm",
                "action": "auto_resolve",
                "scope": "in_scope",
            }.items():
                rest = 0.1 / (len(shares[task]) - 1)
                shares[task] = {name: 0.9 if name == label else rest for name in shares[task]}
            found.append(shares)
        return found

    return run


def counted(run):
    calls = []

    def counting(texts):
        calls.append(len(texts))
        return run(texts)

    return counting, calls


def test_the_weight_of_a_word_is_the_fall_without_it():
    parts = occlude("please hurry with it", reader({"hurry"}))
    assert [part.text for part in parts] == ["please", "hurry", "with", "it"]
    assert [round(part.weights["urgency"], 3) for part in parts] == [0, 0.85, 0, 0]
    assert all(part.weights["sentiment"] == 0 for part in parts)


def test_weights_and_doubts_run_in_one_batch():
    run, calls = counted(reader({"hurry"}))
    found = explain("please hurry with it", run, POLICY)
    assert calls == [1 + 4 + len(noisy("please hurry with it"))]
    assert found.route.fragile is True  # in capitals, this reader does not know the word


def test_the_smallest_change_is_found_and_verified():
    run = reader({"hurry", "HURRY", "hurrry"})
    found = explain("please hurry", run, POLICY)
    assert found.route.fragile is False
    assert found.proof == "Without “hurry” the action changes from “escalate to human” to “auto resolve”."
    assert POLICY.route(run([found.change.text])[0], found.change.text).action == found.change.action == "auto_resolve"


def test_two_words_are_dropped_only_when_one_is_not_enough():
    found = explain("hi red red so", reader({"red", "RED"}), POLICY)
    assert found.proof.startswith("Without “red” and “red” the action changes")
    assert found.change.text == "hi so"


def test_a_phrase_can_be_made_calmer():
    def run(texts):
        """Urgent in any words but those of a patient customer."""
        return [reader({"now"})(["" if "some time" in text.lower() else "now"])[0] for text in texts]

    found = explain("Ship it right now, please", run, POLICY)
    assert found.change.text == "Ship it some time, please"
    assert found.proof.startswith("With “some time” for “right now” the action changes from “escalate to human”")


def test_when_nothing_changes_the_route_it_says_so():
    found = explain("one two three", reader(), POLICY)
    assert found.change is None
    assert found.proof == (
        f"None of {found.edits_tried} small edits (up to three words dropped, a phrase made calmer, case, marks, "
        "typos) changes the action “auto resolve”."
    )
    assert found.edits_tried == len(noisy("one two three")) + 3 + 3 + 1


def test_fragile_messages_are_not_automatic_and_show_what_flips_them():
    run = reader({"HOURS", "hourrs"})
    text = "opening hours"
    assert not is_fragile(text, *reader({"HOURS"})([text]), reader({"HOURS"}), decider(POLICY)), (
        "one change is not enough"
    )
    (full,) = run([text])
    assert is_fragile(text, full, run, decider(POLICY))
    found = explain(text, run, POLICY)
    assert (found.route.fragile, found.route.automatic, found.route.action) == (True, False, "request_more_info")
    assert found.proof == "With “hourrs” for “hours” the action changes from “auto resolve” to “escalate to human”."


def test_changes_that_mean_nothing_are_what_they_say():
    assert dict(noisy("Where is it?")) == {
        "In capitals": "WHERE IS IT?",
        "In small letters": "where is it?",
        "Without punctuation marks": "Where is it",
        "With “Wherre” for “Where”": "Wherre is it?",
    }
    assert noisy("?!") == []
    assert noisy("💳") == []


@given(st.text(max_size=60))
def test_changes_of_any_text_leave_something_to_read(text):
    for _, changed in noisy(text):
        assert re.search(r"\w", changed)
        assert changed != text
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    if spans:
        assert without(text, spans)[1] == "."


@given(st.lists(st.text("abcdefg.!", min_size=1, max_size=8), min_size=1, max_size=200))
def test_parts_cover_every_word_in_order_and_are_never_too_many(words):
    text = "  ".join(words)
    spans = word_spans(text)
    assert len(spans) <= MAX_PARTS
    assert " ".join(text[start:end] for start, end in spans).split() == words


def test_empty_messages_are_refused(classifier):
    with pytest.raises(ClassifierError, match="nothing to explain"):
        explain("  \n", classifier.probabilities, classifier.policy)


@pytest.mark.parametrize("text", ["help", "💳", "help \u200b", "a" * 3000, "refund " * 500, "x\x00y <b>z</b>"])
def test_strange_messages_are_explained(classifier, text):
    data = explain(classifier.part_read(text), classifier.probabilities, classifier.policy).to_dict()
    assert data["words"]
    assert all(set(word["weights"]) == set(classifier.tasks.task_names) for word in data["words"])
    assert all(text[word["start"] : word["end"]] == word["text"] for word in data["words"])


def test_weights_from_the_classifier_are_falls_of_its_own_probability(classifier):
    text = "please refund my card"
    part = occlude(text, classifier.probabilities)[1]
    full, less = classifier.classify(text), classifier.classify("please my card")
    for task, label in full.labels.items():
        assert part.weights[task] == pytest.approx(
            full.probabilities[task][label] - less.probabilities[task][label], abs=0.02
        )


def test_terms_behind_what_the_model_reads_count_for_explanations_too(tiny_folder):
    classifier = Classifier.load(tiny_folder)
    text = "what are the opening hours " * 400 + "or my lawyer will write to you"
    read = classifier.part_read(text)
    assert "lawyer" not in read
    policy = POLICY.changed(always_escalate=["lawyer"])
    classifier.use_policy(policy)
    result = classifier.classify(text, check_fragile=True)
    found = explain(read, classifier.probabilities, policy, rest=text[len(read) :])
    assert found.route == result.route and found.route.reasons[0].code == "always_escalate"
    assert found.change is None, "whatever is changed before it, the term decides"


@pytest.fixture
def trusting(own_folder):
    """A classifier whose policy would answer everything automatically."""
    policy = POLICY.changed(
        rules=[], priorities=[], automatic_needs={}, automatic_lead=0.0,
        automatic=["auto_resolve", "request_more_info"], unsure="escalate_to_human",
        costs={a: {b: float(a == "escalate_to_human") for b in POLICY.actions} for a in POLICY.actions},
    )  # fmt: skip
    write_json(own_folder / "policy.json", policy.to_dict())
    return Classifier.load(own_folder)


def test_what_would_be_automatic_is_tried_and_is_not_automatic_when_fragile(trusting, monkeypatch):
    text = "please refund my card"
    assert trusting.classify(text, check_fragile=False).route.automatic
    steady = trusting.classify(text)
    assert (steady.route.fragile, steady.route.automatic) == (False, True)
    assert "doubt" in steady.latency_ms
    monkeypatch.setattr("classifier.predict.is_fragile", lambda *_: True)
    fragile = trusting.classify(text)
    assert (fragile.route.fragile, fragile.route.automatic) == (True, False)
    assert fragile.to_dict()["route"]["reasons"][0]["code"] == "fragile"


def test_a_policy_that_does_not_care_for_fragility_spends_no_time_on_it(trusting):
    trusting.policy = trusting.policy.changed(automatic_when_fragile=True)
    assert trusting.classify("please refund my card").route.fragile is None


def test_changes_of_case_are_run_once_where_the_model_reads_small_letters(classifier, monkeypatch):
    ran = []
    run = classifier._run
    monkeypatch.setattr(classifier, "_run", lambda feed: ran.append(len(feed["input_ids"])) or run(feed))
    one, other, third = classifier.probabilities(["Refund MY card", "help", "refund my card"])
    assert sum(ran) == 2
    assert one == third != other


def test_what_a_person_sees_anyway_is_tried_for_fragility_only_when_asked(classifier):
    text = "please refund my card"
    assert not classifier.classify(text).route.automatic
    assert classifier.classify(text).route.fragile is None
    result = classifier.classify(text, check_fragile=True)
    assert result.route.fragile is explain(text, classifier.probabilities, classifier.policy).route.fragile
    explained = explain(text, classifier.probabilities, classifier.policy).route
    assert (result.route.action, result.route.queue) == (explained.action, explained.queue)
    assert "doubt" in result.latency_ms


def test_the_latency_is_of_messages_cut_to_twenty_words():
    run, calls = counted(reader({"hurry"}))
    found = latency(["a few words", "word " * 30, "hurry " * 20], run, POLICY)
    assert (found["words"], found["n"]) == (20, 2)
    assert 0 < found["median_ms"] <= found["p95_ms"]
    assert max(calls) < 20 + 10 + len(noisy("x"))  # no message of 30 words was run
    with pytest.raises(ClassifierError, match="No message has 20 words"):
        latency(["a few words"], run, POLICY)


def test_faithful_weights_gain_and_meaningless_ones_do_not():
    texts = [f"{'well ' * i}hurry {'then ' * (9 - i)}" for i in range(10)]
    found = faithfulness(texts, reader({"hurry"}))
    assert found["urgency"]["by_weight"][0] == pytest.approx(0.85)
    assert found["urgency"]["interval"][0] > 0
    assert found["sentiment"]["gain"] == 0


@pytest.mark.parametrize("task", ["intent", "urgency", "sentiment", "action", "scope"])
def test_leaving_out_the_weightiest_words_beats_random_removal(embedded_faithfulness, task):
    assert embedded_faithfulness[task]["interval"][0] > 0


@pytest.fixture(scope="module")
def embedded_faithfulness(gold_dev):
    if not (EMBEDDED / "config.json").is_file():
        pytest.skip(f"there is no embedded model in {EMBEDDED.name}")
    texts = [row["text"] for row in gold_dev if 5 <= len(row["text"].split()) <= 15][:40]
    return faithfulness(texts, Classifier.load(threads=1).probabilities)
