"""The curve of automation against error as an SVG picture for the page."""

from __future__ import annotations

from math import ceil

from .budget import Curve

#: Size of the picture in its own units, and the margins that the numbers at the axes need.
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 460, 210, 42, 40, 10, 14

#: Error rates above this share are cut off: no desk would automate there.
_HIGHEST = 0.2


def curve_chart(curve: Curve, level: float | None = None) -> str:
    """Share of wrong automatic answers over the share of automatic answers, with its upper limit at 95 % confidence.

    Solid and dashed lines differ in more than colour, and a chosen point has a ring and words.

    Args:
        curve: The counts.
        level: The chosen confidence level, marked on the curve; none is if None.
    """
    points = curve.points()
    if not points:
        return ""
    widest = max(0.1, ceil(10 * max(point["automatic"] for point in points)) / 10)

    def place(automatic: float, wrong: float) -> tuple[float, float]:
        x = _LEFT + automatic / widest * (_WIDTH - _LEFT - _RIGHT)
        return x, _HEIGHT - _BOTTOM - min(wrong / _HIGHEST, 1) * (_HEIGHT - _BOTTOM - _TOP)

    def line(name: str, kind: str) -> str:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(point["automatic"], point[name]) for point in points))
        return f'<polyline class="{kind}" points="{path}"/>'

    parts = [line("at_most", "limit"), line("wrong", "seen")]
    for share in (0.0, 0.05, 0.1, 0.15, 0.2):
        x, y = place(0, share)
        end, _ = place(widest, share)
        parts.insert(0, f'<path class="grid" d="M{x:.1f} {y:.1f}H{end:.1f}"/>')
        parts.append(f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    for tenth in range(round(10 * widest) + 1):
        x, y = place(tenth / 10, 0)
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{tenth * 10}%</text>')
    parts.append(
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" text-anchor="middle">messages answered automatically</text>'
    )
    chosen = [point for point in points if point["level"] == level]
    for point in chosen:
        x, y = place(point["automatic"], point["wrong"])
        parts.append(f'<circle class="chosen" cx="{x:.1f}" cy="{y:.1f}" r="6"/>')
    words = "".join(f" ◯ chosen: {point['automatic']:.0%} automatic, {point['wrong']:.1%} wrong" for point in chosen)
    return (
        f'<figure class="curve"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Wrong automatic answers '
        f'over the share of automatic answers, on {curve.n} labelled messages">{"".join(parts)}</svg>'
        f"<figcaption>— wrong answers seen on {curve.n:,} labelled messages; ┄ how high it could be at each point "
        f"(95 %).{words}</figcaption></figure>"
    )
