"""What the page shows, as HTML, without a browser."""

import re
from pathlib import Path

import pytest

from classifier import Label, Policy, Task, TaskSet, page
from classifier.desks import SUPPORT
from classifier.latency import LatencySummary
from classifier.reasons import Reason, Route, RunnerUp
from classifier.result import Result

CSS = Path(page.__file__).with_name("page.css").read_text(encoding="utf-8")
REVIEWS = TaskSet(
    "shop_reviews", "Reviews", (Task("verdict", "Good?", (Label("fine", icon="👍", tone="good"), Label("poor"))),)
)


def result(tasks, *, confidence=0.9, truncated=False, route=None) -> Result:
    shares = {}
    for task in tasks.tasks:
        rest = (1 - confidence) / (len(task.labels) - 1)
        shares[task.name] = {name: confidence if index == 0 else rest for index, name in enumerate(task.label_names)}
    return Result(
        labels={task.name: task.label_names[0] for task in tasks.tasks},
        probabilities=shares,
        route=route or Policy.for_tasks(tasks).route(shares),
        tokens=12,
        truncated=truncated,
        latency_ms={"tokenize": 0.1, "model": 1.4, "route": 0.1, "total": 1.6},
        model={"id": "m", "revision": None, "backend": "onnx-int8"},
    )


def banner(tasks, shown, text="hello", part_read="hello", **more):
    return page.banner(shown, tasks, Policy.for_tasks(tasks), text=text, part_read=part_read, **more)


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "${alert(1)}", "{{constructor}}", '" onload="x', "\x00"]
)
def test_text_from_outside_is_only_text(hostile):
    shown = page.escape(hostile)
    assert not set('<>{}$`"\x00') & set(shown)


def test_lone_surrogates_can_be_sent():
    assert page.escape("a\ud800b").encode("utf-8")


def test_the_banner_tells_what_to_do_for_whom_and_why():
    route = Route("escalate_to_human", "security", "P1", False, (Reason("x", "Because <b>fraud</b> 97 %."),))
    shown = banner(SUPPORT, result(SUPPORT, route=route))
    for part in (
        "Escalate to human",
        "Security",
        "P1 · at once",
        "by a person",
        "Because &lt;b&gt;fraud&lt;/b&gt; 97 %.",
    ):
        assert part in shown
    assert "tone-bad" in shown


def test_what_chose_the_queue_and_the_runner_up_stand_aside():
    reasons = (Reason("recommended", "Main reason."), Reason("queue", "Queue billing: intent."))
    route = Route("auto_resolve", "billing", "P4", True, reasons, RunnerUp("escalate_to_human", "It costs more."))
    main, aside = banner(SUPPORT, result(SUPPORT, route=route)).split("<details>")
    assert "Main reason." in main and "Queue billing" not in main
    assert "Queue billing: intent." in aside and "Runner-up: escalate to human. It costs more." in aside


def test_a_desk_without_actions_is_accepted_or_reviewed():
    sure, unsure = result(REVIEWS, confidence=0.95), result(REVIEWS, confidence=0.55)
    assert "Accept" in banner(REVIEWS, sure) and "automatically" in banner(REVIEWS, sure)
    assert "Review" in banner(REVIEWS, unsure) and "by a person" in banner(REVIEWS, unsure)


def test_what_the_model_recommends_is_told_apart_from_what_the_policy_decides():
    policy = Policy.for_tasks(SUPPORT)
    assert [page.task_title(task, policy) for task in ("action", "urgency")] == ["Recommended action", "Urgency"]
    assert page.task_title("verdict", Policy.for_tasks(REVIEWS)) == "Verdict"


def test_doubt_is_said_with_its_number_and_only_when_there_is_doubt():
    assert "The model is unsure: verdict 55 %." in banner(REVIEWS, result(REVIEWS, confidence=0.55))
    assert "unsure" not in banner(REVIEWS, result(REVIEWS, confidence=0.95))


def test_a_cut_message_says_where_it_was_cut():
    text = "one two three four five six seven eight and much more"
    read = "one two three four five six seven eight"
    shown = banner(REVIEWS, result(REVIEWS, truncated=True), text, read)
    assert f"first {len(read)} of {len(text)} characters" in shown
    assert "up to “three four five six seven eight”" in shown


def test_mended_words_are_named_and_escaped():
    shown = banner(REVIEWS, result(REVIEWS), slips=[("refudn", "refund"), ("<b>", "be")])
    assert "Read “refudn” as “refund”, “&lt;b&gt;” as “be”." in shown
    assert "“a3” as “b3”, “a4” as “b4” and 2 more." in banner(
        REVIEWS, result(REVIEWS), slips=[(f"a{number}", f"b{number}") for number in range(7)]
    )
    assert "Read" not in banner(REVIEWS, result(REVIEWS))


def test_cards_show_word_icon_share_and_runner_up():
    shown = page.cards(result(REVIEWS), REVIEWS, LatencySummary(3, 1.5, 2.5))
    for part in ("👍", "Fine", "90 %", "or poor 10 %", 'role="meter"', 'aria-valuenow="90"', "tone-good"):
        assert part in shown
    for part in ("tokenize", "1.6", "median", "1.5", "p95", "2.5", "of 3 answers"):
        assert part in shown


def test_there_is_a_card_for_each_task_before_and_after():
    for shown in (page.cards_waiting(SUPPORT), page.cards(result(SUPPORT), SUPPORT, LatencySummary(1, 1, 1))):
        assert re.findall(r'data-task="(\w+)"', shown) == list(SUPPORT.task_names)


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb" (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [":root", ".dark"])
def test_every_text_has_a_contrast_of_at_least_4_5(theme):
    blocks = [
        re.search(rf"^{re.escape(name)} {{(.*?)}}", CSS, re.DOTALL | re.MULTILINE).group(1) for name in (":root", theme)
    ]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", "".join(blocks)))
    pairs = [(ink, ground) for ink in ("ink", "ink-soft") for ground in ("ground", "card")]
    pairs += [(tone, ground) for tone in ("good", "warn", "bad") for ground in ("card", f"{tone}-ground")]
    pairs += [("ink", f"{tone}-ground") for tone in ("good", "warn", "bad")] + [
        ("accent", "card"),
        ("on-primary", "primary"),
    ]
    low = {pair: round(contrast(colours[pair[0]], colours[pair[1]]), 2) for pair in pairs}
    assert {pair: value for pair, value in low.items() if value < 4.5} == {}
