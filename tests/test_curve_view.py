import re

from classifier.budget import LEVELS, Curve
from classifier.curve_view import curve_chart

CURVE = Curve.of([0.9] * 60 + [0.7] * 30, [False] * 59 + [True] + [False] * 20 + [True] * 10)


def heights(chart, kind):
    points = re.search(rf'class="{kind}" points="([^"]*)"', chart)[1].split()
    return [tuple(map(float, point.split(","))) for point in points]


def test_the_limit_stands_over_what_was_seen_and_more_automation_is_further_right():
    chart = curve_chart(CURVE)
    seen, limit = heights(chart, "seen"), heights(chart, "limit")
    assert len(seen) == len(limit) == len(CURVE.points())
    assert all(low[1] >= high[1] for low, high in zip(seen, limit, strict=True)), "SVG counts from the top"
    assert [x for x, _ in seen] == sorted(x for x, _ in seen)
    assert seen[-1][1] < seen[0][1], "the last answers are wrong more often"


def test_the_chosen_level_is_marked_and_told():
    assert "chosen" not in curve_chart(CURVE)
    chart = curve_chart(CURVE, LEVELS[-1])
    assert chart.count("<circle") == 1 and "100% automatic, 12.2% wrong" in chart


def test_no_automatic_answers_draw_nothing():
    assert curve_chart(Curve.of([-1.0], [False])) == ""
