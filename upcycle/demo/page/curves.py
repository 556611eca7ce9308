"""Curves over training steps as a drawing in the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

Curve = Sequence[Sequence[float]]

WIDTH, HEIGHT = 1000, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 15, 15, 45
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
TICKS: Final = 5


def drawing(curves: Mapping[str, Curve], name: str, *, starts_at: Mapping[str, int] | None = None) -> str:
    """An SVG of these curves, [step, value] each; values that are not finite are left out.

    name: of the values. starts_at: steps that came before each curve; 0 where it is not named.
    """
    moved = {
        label: [(x + (starts_at or {}).get(label, 0), y) for x, y in curve if math.isfinite(y)]
        for label, curve in curves.items()
    }
    points = [point for curve in moved.values() for point in curve]
    if not points:
        return "<p>no curve was logged</p>"
    last = max(x for x, _ in points)
    low, high = min(0.0, *(y for _, y in points)), max(y for _, y in points)
    high = high if high > low else low + 1

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / last * (WIDTH - LEFT - RIGHT)
        return across, TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [_grid(last, low, high, name)]
    for number, (label, curve) in enumerate(moved.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in curve)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
        across = LEFT + 20 + number * 260
        parts.append(f'<rect x="{across}" y="{HEIGHT - 12}" width="18" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{across + 24}" y="{HEIGHT - 6}" font-size="14">{escape(label)}</text>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)} over steps">{"".join(parts)}</svg>'
    )


def _grid(last: float, low: float, high: float, name: str) -> str:
    parts = []
    for value in _ticks(low, high):
        y = TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d8dee8"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" font-size="12" text-anchor="end">{value:g}</text>')
    for step in _ticks(0, last):
        x = LEFT + step / last * (WIDTH - LEFT - RIGHT)
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" font-size="12" text-anchor="middle">{step:g}</text>'
        )
    place = f'x="{WIDTH - RIGHT}" y="{TOP - 4}" text-anchor="end"'
    parts.append(f'<text {place} font-size="12" fill="#4d5869">{escape(name)}, by step</text>')
    return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`, at least `TICKS` of them."""
    rough = (high - low) / TICKS
    ten = 10.0 ** math.floor(math.log10(rough))
    step = max(size * ten for size in (1, 2, 5) if size * ten <= rough)
    first = math.ceil(low / step)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]
