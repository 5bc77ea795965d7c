import json
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from classifier import Classifier, ClassifierError, Policy
from classifier.desks import SUPPORT
from classifier.folder import EMBEDDED
from classifier.reasons import percent, words
from classifier.tasks import Label, Task, TaskSet

POLICY = Policy.for_tasks(SUPPORT)


def spread(tasks=SUPPORT, **likely):
    """Probabilities that give each named label its share, and the task's other labels equal parts of the rest."""
    probabilities = {}
    for task in tasks.tasks:
        name, share = likely.get(task.name, (task.label_names[0], 0.96))
        rest = (1 - share) / (len(task.labels) - 1)
        probabilities[task.name] = {label: share if label == name else rest for label in task.label_names}
    return probabilities


CALM_QUESTION = {
    "intent": ("general_question", 0.97),
    "urgency": ("low", 0.97),
    "sentiment": ("calm", 0.97),
    "action": ("auto_resolve", 0.95),
    "scope": ("in_scope", 0.98),
}


def question(**other):
    return spread(**{**CALM_QUESTION, **other})


def codes(route):
    return [reason.code for reason in route.reasons]


# Random task sets, probabilities and policies

names = st.text("abcdefgh", min_size=1, max_size=6)


@st.composite
def distributions(draw, labels):
    weights = draw(st.lists(st.integers(0, 100), min_size=len(labels), max_size=len(labels)).filter(any))
    return {label: weight / sum(weights) for label, weight in zip(labels, weights, strict=True)}


@st.composite
def task_sets(draw):
    used = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    return TaskSet(
        name="generated",
        title="Generated",
        tasks=tuple(
            Task(name, "?", tuple(Label(x) for x in draw(st.lists(names, min_size=2, max_size=5, unique=True))))
            for name in used
        ),
    )


@st.composite
def policies(draw, tasks):
    """A policy of a desk, with a rule for the last label of every task but the one that recommends the action."""
    action_task = draw(st.sampled_from([None, *tasks.task_names]))
    if action_task is None:
        actions = ["accept", "ask", "review"]
    else:
        actions = draw(st.permutations(tasks.task(action_task).label_names))
    automatic = actions[: draw(st.integers(0, len(actions) - 1))]
    cautious = actions[len(automatic) :]
    cost = st.integers(0, 20)
    costs = {a: {b: 0 if a == b else draw(cost) for b in actions} for a in actions}
    assume(any(any(row.values()) for row in costs.values()))
    shares = st.integers(5, 95).map(lambda value: value / 100)
    rules = [
        {
            "code": f"rule_{task.name}",
            "labels": {task.name: [task.label_names[-1]]},
            "at_least": draw(shares),
            "action": draw(st.sampled_from(cautious)),
            "text": f"It is {{{task.name}}} ({{{task.name}_share}}).",
        }
        for task in tasks.tasks
        if task.name != action_task
    ]
    policy = Policy.from_dict(
        {
            "version": "generated",
            "action_task": action_task,
            "actions": actions,
            "automatic": automatic,
            "costs": costs if action_task else {},
            "automatic_needs": {action_task: draw(shares)} if action_task else {},
            "automatic_lead": draw(shares),
            "unsure": draw(st.sampled_from(cautious)),
            "rules": rules,
            "queues": [{"queue": f"q_{rule['code']}", "labels": rule["labels"]} for rule in rules],
            "priorities": [
                {"priority": f"P{i}", "labels": rule["labels"], "at_least": rule["at_least"]}
                for i, rule in enumerate(rules[:4], 1)
            ],
        }
    )
    policy.check(tasks)
    return policy


@st.composite
def cases(draw):
    """A task set, a policy for it and the probabilities of a message."""
    tasks = draw(task_sets())
    return tasks, draw(policies(tasks)), {t.name: draw(distributions(t.label_names)) for t in tasks.tasks}


support_probabilities = st.fixed_dictionaries({task.name: distributions(task.label_names) for task in SUPPORT.tasks})


# What the support desk must get right


@pytest.mark.parametrize(
    ("message", "intent", "urgency", "sentiment", "action", "queue"),
    [
        (
            "Hi I need to cancel my order ASAP!!! This is urgent",
            "refund_request",
            "high",
            None,
            "escalate_to_human",
            "priority",
        ),
        (
            "WTF!!! You charged me twice for the same thing!! FIX THIS NOW!",
            "billing_issue",
            None,
            "angry",
            "escalate_to_human",
            "priority",
        ),
        ("hey, i cant log into my acccount... can u help plz?", "account_access", None, None, None, "accounts"),
        ("What are your business hours?", "general_question", "low", "calm", "auto_resolve", "self_service"),
        (
            "i think there might be fraudulent activity on my account. i see charges i didnt make",
            None,
            "high",
            None,
            "escalate_to_human",
            "security",
        ),
        ("how do you prevent fraud?", None, "low", "calm", "auto_resolve", "self_service"),
    ],
)
def test_embedded_model_routes_the_messages_that_demos_get_wrong(
    embedded, message, intent, urgency, sentiment, action, queue
):
    result = embedded.classify(message)
    wanted = {"intent": intent, "urgency": urgency, "sentiment": sentiment}
    assert {task: result.labels[task] for task, label in wanted.items() if label} == {
        task: label for task, label in wanted.items() if label
    }
    assert result.route.queue == queue
    assert action is None or result.route.action == action
    assert result.route.automatic == (action == "auto_resolve")


@pytest.fixture(scope="module")
def embedded():
    if not (EMBEDDED / "config.json").is_file():
        pytest.skip(f"there is no embedded model in {EMBEDDED.name}")
    return Classifier.load(threads=1)


def test_a_calm_question_is_answered_automatically_and_says_why_that_is_safe():
    route = POLICY.route(question(), "What are your business hours?")
    assert (route.action, route.queue, route.priority, route.automatic) == ("auto_resolve", "self_service", "P4", True)
    assert codes(route) == ["recommended", "no_rule", "sure", "queue"]
    assert (
        route.reasons[1].text
        == "No safety rule applies: urgency low (97 %), sentiment calm (97 %), scope in scope (98 %)."
    )
    assert "action auto resolve (95 %, 70 % needed)" in route.reasons[2].text


def test_safety_rules_overrule_the_recommendation_and_name_their_numbers():
    route = POLICY.route(question(urgency=("high", 0.9), sentiment=("angry", 0.96)))
    assert (route.action, route.queue, route.priority) == ("escalate_to_human", "priority", "P1")
    assert [r.text for r in route.reasons[:2]] == [
        "The chance of high urgency is 90 %.",
        "The customer is angry (96 %).",
    ]
    assert route.runner_up.action == "auto_resolve"
    assert route.runner_up.lacked == "Recommended (95 %), but overruled. The chance of high urgency is 90 %."


def test_out_of_scope_is_asked_what_it_needs():
    route = POLICY.route(question(scope=("out_of_scope", 0.8)))
    assert (route.action, route.queue, codes(route)[0]) == ("request_more_info", "clarification", "out_of_scope")


def test_low_confidence_is_never_automated():
    route = POLICY.route(question(intent=("general_question", 0.496)))
    assert route.action == "request_more_info"
    text = "The model is unsure of the intent: 49.6 % is under the 50.0 % that automatic answers need."
    assert [r.text for r in route.reasons] == [text]
    assert route.runner_up.lacked.endswith(text)


def test_a_near_tie_is_never_automated():
    tie = question()
    tie["intent"] = {
        "refund_request": 0.0,
        "billing_issue": 0.46,
        "account_access": 0.0,
        "technical_problem": 0.02,
        "general_question": 0.52,
    }
    route = POLICY.route(tie)
    assert not route.automatic
    assert "general question is only 6 % ahead of billing issue" in route.reasons[0].text


def test_fragile_answers_are_not_automatic_unless_the_policy_says_so():
    assert POLICY.route(question(), fragile=True).action == "request_more_info"
    assert codes(POLICY.route(question(), fragile=True)) == ["fragile"]
    assert "steady" in codes(POLICY.route(question(), fragile=False))
    assert POLICY.changed(automatic_when_fragile=True).route(question(), fragile=True).automatic


def test_terms_of_the_lead_always_escalate():
    policy = POLICY.changed(always_escalate=["lawyer*", "data  protection"])
    route = policy.route(question(), "Where do I find your Data\nProtection officer?")
    assert (route.action, codes(route)[0]) == ("escalate_to_human", "always_escalate")
    assert route.reasons[0].text == "Policy: “Data\nProtection” always leads to “escalate to human”."
    assert policy.route(question(), "Are there in-house LAWYERS?").action == "escalate_to_human"
    assert policy.route(question(), "Do you sell flawyers?").automatic


def test_a_typographic_apostrophe_is_an_apostrophe():
    route = POLICY.route(question(urgency=("high", 0.9)), "charges I didn’t make")
    assert route.queue == "security"
    assert any("“didn’t make”" in reason.text for reason in route.reasons)


@pytest.mark.parametrize(
    "text", ["how do you prevent fraud?", "is my lost card insured?", "smoke detector app, how to?"]
)
def test_words_of_danger_in_a_harmless_question_do_not_escalate(text):
    assert POLICY.route(question(), text).automatic


def test_words_of_danger_in_what_is_not_harmless_reach_a_person():
    problem = question(urgency=("medium", 0.9), action=("request_more_info", 0.9))
    assert POLICY.route(problem, "the charger does not work").action == "request_more_info"
    route = POLICY.route(problem, "SMOKE comes out of the charger")
    assert (route.action, codes(route)[0]) == ("escalate_to_human", "danger_word")
    assert route.reasons[0].text == "A word of danger, “SMOKE”, and medium or high urgency (95 %)."
    assert (route.priority, route.reasons[-1].text) == ("P2", "Priority P2: rule danger word.")
    assert POLICY.route(problem, "the charger does not work").priority == "P3"


def test_a_priority_can_follow_from_a_safety_rule():
    route = POLICY.route(question(), "there is a smell of gas here, where do i find the meter?")
    assert (route.priority, route.reasons[-1].text) == ("P1", "Priority P1: rule always escalate.")
    assert POLICY.route(question(), "where do i find the meter?").priority == "P4"


def test_a_small_chance_of_high_urgency_reaches_a_person():
    for share, action in ((0.05, "auto_resolve"), (0.07, "escalate_to_human")):
        urgency = {"low": 1 - share, "medium": 0.0, "high": share}
        assert POLICY.route({**question(), "urgency": urgency}).action == action


def test_what_must_never_wait_reaches_a_person_whatever_the_model_says():
    assert POLICY.route(question(), "I can’t breathe after your soup").action == "escalate_to_human"
    assert POLICY.route(question(), "You will hear from my Solicitors.").action == "escalate_to_human"


def test_costs_decide_against_the_most_probable_action():
    shares = question()
    shares["action"] = {"auto_resolve": 0.45, "request_more_info": 0.30, "escalate_to_human": 0.25}
    route = POLICY.route(shares)
    assert route.action == "request_more_info"
    assert route.expected_costs == pytest.approx(
        {"request_more_info": 0.45 * 2 + 0.25 * 4, "auto_resolve": 0.55 * 5, "escalate_to_human": 0.45 * 10 + 0.3 * 3}
    )
    assert "“request more info” (30 %) costs less on average: 1.9 against 2.8" in route.reasons[0].text
    assert (
        route.runner_up.lacked
        == "It is right with a probability of 45 % and costs 2.8 on average, “request more info” 1.9."
    )


def test_between_equal_costs_the_more_cautious_action_wins():
    policy = POLICY.changed(costs={})
    shares = question()
    shares["action"] = {"auto_resolve": 0.4, "request_more_info": 0.2, "escalate_to_human": 0.4}
    assert policy.route(shares).action == "escalate_to_human"


def test_a_desk_without_an_action_task_accepts_or_reviews():
    tasks = TaskSet("parcels", "Parcels", (Task("size", "?", (Label("small"), Label("big"))),))
    policy = Policy.for_tasks(tasks)
    sure = policy.route(spread(tasks, size=("big", 0.9)))
    assert (sure.action, sure.automatic, sure.reasons[0].text) == (
        "accept",
        True,
        "The model is sure enough: size big (90 %, 60 % needed).",
    )
    unsure = policy.route(spread(tasks, size=("big", 0.55)))
    assert (unsure.action, unsure.automatic, codes(unsure)) == ("review", False, ["unsure_size"])
    assert unsure.runner_up.action == "accept"


# Policy files


def test_a_policy_survives_its_file(tmp_path):
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(POLICY.to_dict()))
    assert Policy.from_file(file) == POLICY
    assert json.dumps(POLICY.to_dict()) == json.dumps(Policy.from_file(file).to_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"treshold": 0.5}, "treshold: Extra inputs are not permitted"),
        ({"version": ""}, "version"),
        ({"format": 2}, "format: Input should be 1"),
        ({"automatic_needs": {"action": 1.2}}, "automatic_needs.action: Input should be less than or equal to 1"),
        ({"automatic_needs": {"action": float("nan")}}, "automatic_needs.action"),
        ({"unsure": "auto_resolve"}, "least cautious"),
        ({"automatic": ["escalate_to_human"]}, "least cautious"),
        ({"automatic": ["answer"]}, "answer is not among the actions auto_resolve"),
        ({"actions": ["a", "a"]}, "twice"),
        ({"costs": {"auto_resolve": {"auto_resolve": -1}}}, "costs.auto_resolve.auto_resolve"),
        ({"costs": {"auto_resolve": {"auto_resolve": float("inf")}}}, "finite"),
        ({"costs": {"auto_resolve": {"escalate_to_human": 5}}}, "lacks the cost where auto_resolve was right"),
        ({"costs": {"auto_resolve": {"auto_resolve": 0}}}, "all 0"),
        ({"always_escalate": ["  "]}, "no letter or digit"),
        ({"rules": [{"code": "x", "action": "escalate_to_human", "text": "x"}]}, "would always apply"),
        ({"rules": [{"code": "x", "action": "fly", "text": "x", "terms": ["x"]}]}, "fly is not among the actions"),
        ({"rules": [{"code": "x", "action": "escalate_to_human", "text": "{y}", "terms": ["x"]}]}, "it can use {term}"),
        ({"rules": [{"code": "x", "action": "escalate_to_human", "text": "{", "terms": ["x"]}]}, "stray brace"),
        (
            {"rules": [{"code": "x", "action": "escalate_to_human", "text": "{term.__class__}", "terms": ["x"]}]},
            "it can use {term}",
        ),
        ({"queues": [{"queue": "x", "labels": {"urgency": []}}]}, "queues.0.labels.urgency"),
        ({"queues": [{"queue": "x", "labels": {"urgency": ["high", "high"]}}]}, "twice"),
        ({"priorities": [{"priority": "P0"}]}, "priorities.0.priority"),
        ({"priorities": [{"priority": "P1", "because": ["fire"]}]}, "priorities name fire; the safety rules are"),
    ],
)
def test_a_policy_with_a_fault_is_refused_by_its_key(changes, message):
    with pytest.raises(ClassifierError, match=re.escape(message)):
        POLICY.changed(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"automatic_needs": {"mood": 0.5}}, "'mood' is not a task"),
        ({"priorities": [{"priority": "P1", "labels": {"urgency": ["extreme"]}}]}, "'extreme' is not a label"),
        ({"costs": {"auto_resolve": {"auto_resolve": 1}}}, "lacks escalate_to_human, request_more_info in 'costs'"),
        ({"action_task": "sentiment"}, "lacks angry, calm, frustrated in 'actions'"),
    ],
)
def test_a_policy_of_another_desk_is_refused(changes, message):
    with pytest.raises(ClassifierError, match=re.escape(message)):
        POLICY.changed(**changes).check(SUPPORT)


def test_unreadable_policy_files_are_refused(tmp_path):
    for content, message in (("{", "cannot be read as JSON"), ("[]", "cannot be used")):
        file = tmp_path / "policy.json"
        file.write_text(content)
        with pytest.raises(ClassifierError, match=message):
            Policy.from_file(file)
    with pytest.raises(ClassifierError, match="cannot be read"):
        Policy.from_file(tmp_path / "none.json")


# Properties, over random desks and policies


@given(cases())
def test_the_same_input_gives_the_same_route(case):
    _, policy, probabilities = case
    again = Policy.from_dict(json.loads(json.dumps(policy.to_dict())))
    assert policy.route(probabilities, "text") == again.route(probabilities, "text")


@given(cases(), st.data(), st.integers(1, 100))
def test_raising_a_danger_never_makes_a_route_less_cautious(case, data, step):
    _, policy, probabilities = case
    assume(policy.rules)
    rule = data.draw(st.sampled_from(policy.rules))
    ((task, (danger,)),) = rule.labels.items()
    raised = {label: share * (1 - step / 100) for label, share in probabilities[task].items()}
    raised[danger] += step / 100
    before, after = policy.route(probabilities), policy.route({**probabilities, task: raised})
    assert policy.actions.index(after.action) >= policy.actions.index(before.action)
    assert after.priority <= before.priority


@given(support_probabilities, st.sampled_from([("urgency", "high"), ("sentiment", "angry")]), st.integers(1, 100))
def test_raising_urgency_or_anger_never_makes_a_support_route_less_cautious(probabilities, danger, step):
    task, label = danger
    raised = {name: share * (1 - step / 100) for name, share in probabilities[task].items()}
    raised[label] += step / 100
    before, after = POLICY.route(probabilities), POLICY.route({**probabilities, task: raised})
    assert POLICY.actions.index(after.action) >= POLICY.actions.index(before.action)
    assert after.priority <= before.priority


@given(cases(), st.integers(-9, 9))
def test_only_the_proportions_of_costs_matter(case, exponent):
    _, policy, probabilities = case
    assume(policy.costs)
    scaled = {a: {b: cost * 10.0**exponent for b, cost in row.items()} for a, row in policy.costs.items()}
    one, other = policy.route(probabilities), policy.changed(costs=scaled).route(probabilities)
    assert (one.action, one.queue, one.priority, codes(one)) == (
        other.action,
        other.queue,
        other.priority,
        codes(other),
    )


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_and_names_of_labels_change_nothing(case, random):
    tasks, policy, probabilities = case
    shuffled = {}
    for task in random.sample(tasks.task_names, len(tasks.task_names)):
        labels = random.sample(list(probabilities[task]), len(probabilities[task]))
        shuffled[task] = {label: probabilities[task][label] for label in labels}
    one, other = policy.route(probabilities), policy.route(shuffled)
    assert (one.action, one.queue, one.priority, codes(one)) == (
        other.action,
        other.queue,
        other.priority,
        codes(other),
    )
    # Capital letters are in no generated name, so that each new name is another label's name nowhere.
    renamed = Policy.from_dict(_in_capitals(policy.to_dict()))
    third = renamed.route({t: {_capital(name): s for name, s in shares.items()} for t, shares in probabilities.items()})
    known = {label for task in tasks.tasks for label in task.label_names}
    assert third.action == (_capital(one.action) if one.action in known else one.action)
    assert (third.queue, third.priority, codes(third)) == (one.queue, one.priority, codes(one))


def _capital(name):
    return name.upper() if re.fullmatch("[a-h]{1,6}", name) else name


def _in_capitals(policy):
    """The policy with every label and action in capitals."""
    policy["actions"] = [_capital(action) for action in policy["actions"]]
    policy["automatic"] = [_capital(action) for action in policy["automatic"]]
    policy["unsure"] = _capital(policy["unsure"])
    policy["costs"] = {
        _capital(a): {_capital(b): cost for b, cost in row.items()} for a, row in policy["costs"].items()
    }
    for rule in policy["rules"]:
        rule["action"] = _capital(rule["action"])
    for rule in (*policy["rules"], *policy["queues"], *policy["priorities"]):
        rule["labels"] = {task: [_capital(label) for label in labels] for task, labels in rule["labels"].items()}
    return policy


@given(cases())
def test_routes_are_never_automatic_without_the_confidence_that_is_asked_for(case):
    _, policy, probabilities = case
    route = policy.route(probabilities)
    assert route.automatic == (route.action in policy.automatic)
    if route.automatic:
        assert all(max(probabilities[task].values()) >= needed for task, needed in policy.automatic_needs.items())
        for rule in policy.rules:
            assert any(sum(probabilities[t][x] for x in xs) < rule.at_least for t, xs in rule.labels.items())


messages = st.sampled_from(["", "hello", "it smokes, there was smoke", "ask my lawyer", "STOLEN! call my lawyer"])


@given(
    cases() | support_probabilities.map(lambda probabilities: (SUPPORT, POLICY, probabilities)),
    messages,
    st.sampled_from([None, False, True]),
)
def test_every_reason_is_true_of_the_numbers_and_words_beside_it(case, text, fragile):
    tasks, policy, probabilities = case
    route = policy.route(probabilities, text, fragile=fragile)
    assert route.reasons
    for term in re.findall("“([^”]+)” always|danger, “([^”]+)”|the term “([^”]+)”", " ".join(map(str, route.reasons))):
        assert "".join(term) in text
    for reason in route.reasons:
        check_reason(reason, route, tasks, policy, probabilities)
    if route.runner_up is not None:
        assert route.runner_up.action != route.action
        found = re.search(
            r"^It is right with a probability of (\d+ %) and costs (\S+) on average, .* (\S+)\.$",
            route.runner_up.lacked,
        )
        if found:
            share, dear, cheap = found.groups()
            assert share == percent(probabilities[policy.action_task][route.runner_up.action])
            assert float(dear) >= float(cheap)
        else:
            assert "overruled" in route.runner_up.lacked or route.runner_up.lacked == "Nothing is in doubt."


def check_reason(reason, route, tasks, policy, probabilities):
    """Read the claims out of a reason's text and compare each with the probabilities."""
    by_words = {(words(t), words(x)): s for t, shares in probabilities.items() for x, s in shares.items()}
    rules = {rule.code: rule for rule in policy.rules}
    if reason.code == "recommended":
        for label, share in re.findall(r"“([^”]+)” \((\d+ %)\)", reason.text):
            assert share == percent(by_words[words(policy.action_task), label])
        costs = re.search(r"average: (\S+) against (\S+)\.$", reason.text)
        assert costs is None or float(costs[1]) <= float(costs[2])
        assert words(route.action) in reason.text
    elif reason.code in rules:
        ((task, labels),) = rules[reason.code].labels.items()
        share = sum(probabilities[task][label] for label in labels)
        assert share >= rules[reason.code].at_least
        assert re.findall(r"\d+ %", reason.text) == [percent(share)]
        assert policy.actions.index(route.action) >= policy.actions.index(rules[reason.code].action)
    elif reason.code.startswith(("unsure_", "near_tie_")):
        one, other = re.findall(r"([\d.]+) %", reason.text)
        assert float(one) < float(other)
        assert not route.automatic
        first, second = sorted(probabilities[reason.code.removeprefix("unsure_").removeprefix("near_tie_")].values())[
            :-3:-1
        ]
        assert abs(float(one) / 100 - (first if reason.code.startswith("unsure_") else first - second)) < 0.0051
    elif reason.code == "sure":
        found = re.findall(r"(\w+) ([\w ]+) \(([\d.]+) %, ([\d.]+) % needed\)", reason.text)
        assert len(found) == len(policy.automatic_needs)
        for task, label, share, needed in found:
            assert float(share) >= float(needed)
            assert abs(by_words[task, label] - float(share) / 100) < 0.0051
            assert by_words[task, label] == max(probabilities[task].values())
    elif reason.code in ("no_rule", "queue", "priority"):
        for task, labels, share in re.findall(r"(\w+) ([\w ]+) \((\d+ %)\)", reason.text):
            assert share == percent(sum(by_words[task, label] for label in labels.split(" or ")))
    elif reason.code == "always_escalate":
        assert (route.action, policy.always_escalate != []) == (policy.actions[-1], True)
        assert reason.text.endswith(f"always leads to “{words(route.action)}”.")
    elif reason.code == "fragile":
        assert (route.fragile, route.automatic) == (True, False)
    elif reason.code == "steady":
        assert (route.fragile, route.automatic) == (False, True)
    else:
        assert reason.code == "default"
        assert route.action == policy.actions[0]
