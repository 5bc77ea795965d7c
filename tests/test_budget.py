import random

import pytest
from answers import POLICY, message
from hypothesis import given
from hypothesis import strategies as st

from classifier import ClassifierError, Policy
from classifier.binomial import binomial_tail, upper_limit
from classifier.budget import LEVELS, Curve, answer_confidence, at_level, is_wrong
from classifier.tasks import Label, Task, TaskSet

PARCELS = TaskSet("parcels", "Parcels", (Task("size", "?", (Label("small"), Label("big"))),))


def draw(rng, n, error=lambda score: 0.6 * (1 - score)):
    """Messages whose answers are wrong with a probability that falls with their confidence."""
    scores = [0.4 + 0.6 * rng.random() for _ in range(n)]
    return scores, [rng.random() < error(score) for score in scores]


def true_rate(level, error=lambda score: 0.6 * (1 - score), steps=2000):
    """The share of wrong answers above a level in the population of `draw`."""
    low = max(level, 0.4)
    return sum(error(low + (1 - low) * (step + 0.5) / steps) for step in range(steps)) / steps


def test_the_promise_is_kept_as_often_as_it_says():
    """The statistical test of the guarantee: at most 10 % of samples may lead to a level that breaks the budget."""
    rng, broken, promised, draws = random.Random(0), 0, 0, 400
    for _ in range(draws):
        scores, wrong = draw(rng, 600)
        try:
            level = Curve.of(scores, wrong).choose(0.08, 0.9).level
        except ClassifierError:
            continue
        promised += 1
        broken += true_rate(level) > 0.08
    assert promised > draws / 2
    assert binomial_tail(draws - broken, draws, 0.9) > 1e-4  # not clearly more than one in ten


def test_taking_the_observed_rate_for_the_true_one_would_break_that_promise():
    """The check above can fail: without the exact test, about every second sample breaks the budget."""
    rng, broken, draws = random.Random(0), 0, 100
    for _ in range(draws):
        curve = Curve.of(*draw(rng, 600))
        naive = [i for i, n in enumerate(curve.automatic) if n and curve.wrong[i] / n <= 0.08][-1]
        broken += true_rate(LEVELS[naive]) > 0.08
    assert binomial_tail(draws - broken, draws, 0.9) < 1e-4


@given(st.lists(st.tuples(st.floats(0.4, 1), st.booleans()), min_size=1, max_size=80), st.floats(0.05, 0.9))
def test_a_chosen_level_passes_its_test_and_a_smaller_budget_is_never_less_strict(pairs, max_wrong):
    curve = Curve.of(*zip(*pairs, strict=True))
    try:
        choice = curve.choose(max_wrong)
    except ClassifierError:
        return
    index = LEVELS.index(choice.level)
    assert binomial_tail(curve.wrong[index], curve.automatic[index], max_wrong) <= 0.05
    assert choice.automatic == curve.automatic[index] / len(pairs)
    assert choice.wrong <= max_wrong
    assert upper_limit(curve.wrong[index], curve.automatic[index], 0.95) <= max_wrong + 1e-4


def test_more_messages_allow_more_automation_under_the_same_promise():
    rng = random.Random(1)
    few, many = (Curve.of(*draw(rng, n)).choose(0.1) for n in (400, 8000))
    assert many.automatic > few.automatic
    assert true_rate(many.level) <= 0.1


def test_too_few_messages_are_refused_with_the_number_that_is_needed():
    curve = Curve.of([0.99] * 100, [False] * 100)
    with pytest.raises(
        ClassifierError, match=r"cannot be promised from 100 labelled messages; about (\d+) are needed"
    ) as e:
        curve.choose(0.02)
    needed = int(str(e.value).split("about ")[1].split()[0].replace(",", ""))
    assert Curve.of([0.99] * needed, [False] * needed).choose(0.02).automatic == 1


def test_a_small_budget_is_not_called_out_of_reach_where_no_error_was_seen():
    with pytest.raises(ClassifierError, match=r"about [\d,]+ are needed"):
        Curve.of([0.99] * 300, [False] * 300).choose(0.001)


def test_a_model_that_is_too_often_wrong_is_told_so():
    curve = Curve.of([0.99] * 400, [True, False] * 200)
    with pytest.raises(
        ClassifierError, match=r"out of reach of this model on 400 .* 200 of 400 automatic answers were wrong"
    ):
        curve.choose(0.02)


def test_impossible_budgets_are_refused():
    curve = Curve.of([0.9] * 10, [False] * 10)
    for values in ((0, 0.95), (1.5, 0.95), (0.1, 1), (float("nan"), 0.9)):
        with pytest.raises(ClassifierError, match="expected a share between 0 and 1"):
            curve.choose(*values)


def test_the_curve_counts_what_the_policy_would_do():
    messages = [
        message("auto_resolve", 0.9, "auto_resolve"),
        message("auto_resolve", 0.8, "escalate_to_human"),
        message("escalate_to_human", 0.99, "auto_resolve"),
        ("unlabelled", message("auto_resolve", 0.9, "")[1], {}),
    ]
    curve = Curve.measure(POLICY, messages)
    counts = dict(zip(LEVELS, zip(curve.automatic, curve.wrong, strict=True), strict=True))
    assert curve.n == 3
    assert (counts[0.95], counts[0.85], counts[0.75]) == ((0, 0), (1, 0), (2, 1))
    for level in LEVELS:
        policy = at_level(POLICY, level)
        assert counts[level][0] == sum(policy.route(found, text).automatic for text, found, _ in messages[:3])


def test_terms_that_always_escalate_are_never_counted_as_automatic():
    messages = [message("auto_resolve", 0.9, "auto_resolve", "my lawyer asks")] * 3
    assert max(Curve.measure(POLICY.changed(always_escalate=["lawyer"]), messages).automatic) == 0


def test_a_desk_without_actions_is_wrong_when_a_label_is():
    policy = Policy.for_tasks(PARCELS)
    probabilities = {"size": {"small": 0.2, "big": 0.8}}
    assert is_wrong(policy, probabilities, {"size": "small"})
    assert not is_wrong(policy, probabilities, {"size": "big"})
    assert answer_confidence(policy, probabilities) == 0.8
    assert Curve.measure(policy, [("x", probabilities, {"size": "small"})]).wrong[-1] == 1


def test_a_policy_without_thresholds_has_no_curve():
    with pytest.raises(ClassifierError, match="asks for no confidence"):
        Curve.measure(POLICY.changed(automatic_needs={}), [message("auto_resolve", 0.9, "auto_resolve")])
    with pytest.raises(ClassifierError, match="No message has the labels action"):
        Curve.measure(POLICY, [("x", message("auto_resolve", 0.9, "")[1], {})])


def test_the_curve_survives_its_file_and_refuses_another_version():
    curve = Curve.of(*draw(random.Random(2), 50))
    assert Curve.from_dict(curve.to_dict()) == curve
    with pytest.raises(ClassifierError, match="run `calibrate` again"):
        Curve.from_dict({**curve.to_dict(), "levels": [0.5]})


def test_the_points_of_the_curve_are_its_counts():
    curve = Curve.of([0.9] * 8 + [0.6] * 2, [False] * 8 + [True] * 2)
    last = curve.points()[-1]
    assert (last["level"], last["automatic"], last["wrong"]) == (0.5, 1.0, 0.2)
    assert last["at_most"] == pytest.approx(0.5069, abs=1e-3)
