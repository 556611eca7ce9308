"""Numbers with their ranges as a drawing: a point and a line for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

WIDTH, ROW, LEFT, RIGHT, TOP = 1000, 24, 320, 30, 8
COLOURS: Final = {"before": "#7a8696", "after": "#0072b2", "control": "#d55e00"}
STEP: Final = 20  # percent between lines


def drawing(rows: Sequence[tuple[str, Mapping[str, Mapping[str, Any]]]]) -> str:
    """An SVG from 0 to 100 percent; each row has a title and intervals ("value", "low", "high") by word."""
    lines = [
        (title if place == 0 else "", word, each)
        for title, own in rows
        for place, (word, each) in enumerate(own.items())
    ]
    height = TOP + ROW * len(lines) + 26
    parts = [_scale(height)]
    for number, (title, word, interval) in enumerate(lines):
        y = TOP + ROW * (number + 0.5)
        low, value, high = (_across(interval[name]) for name in ("low", "value", "high"))
        colour = COLOURS[word]
        if title:
            parts.append(f'<text x="0" y="{y + 4:.1f}" font-size="13" font-weight="600">{escape(title)}</text>')
        parts.append(f'<text x="{LEFT - 12}" y="{y + 4:.1f}" font-size="13" text-anchor="end">{escape(word)}</text>')
        parts.append(f'<line x1="{low}" x2="{high}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<circle cx="{value}" cy="{y}" r="5" fill="{colour}"/>')
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="AP with ranges">{"".join(parts)}</svg>'


def _scale(height: float) -> str:
    parts = []
    for percent in range(0, 101, STEP):
        x = _across(percent)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{height - 22}" stroke="#d8dee8"/>')
        parts.append(f'<text x="{x}" y="{height - 6}" font-size="12" text-anchor="middle">{percent} %</text>')
    return "".join(parts)


def _across(percent: float) -> float:
    return round(LEFT + percent / 100 * (WIDTH - LEFT - RIGHT), 1)
