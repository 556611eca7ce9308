"""A picture of attacks between floors and ceilings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from server.audit.page.numbers import mean_of
from server.audit.page.pictures import as_small_png
from server.audit.page.rows import Row
from shared_models.visualisation.figure import new_figure

ATTACK, TRIVIAL, CONTROL = "#d55e00", "#e69f00", "#5b6472"  # Okabe and Ito, and a grey
ROW_INCHES: Final = 0.34
WIDTH_INCHES: Final = 8.0


def attacks_picture(rows: Sequence[Row], measure: str) -> bytes:
    """A PNG with a line for each row: its mean as a mark, its interval as a bar. Floors and ceilings are grey."""
    figure = new_figure(WIDTH_INCHES, 0.9 + ROW_INCHES * len(rows))
    axes = figure.subplots()
    for place, row in enumerate(rows):
        mean = mean_of(row.estimates, measure)
        if mean is None:
            continue
        colour, mark = (CONTROL, "|") if row.is_control else (TRIVIAL, "s") if row.is_trivial else (ATTACK, "o")
        estimate = row.estimates[measure]
        if estimate["low"] is not None and estimate["high"] is not None:
            axes.plot([estimate["low"], estimate["high"]], [place, place], color=colour, linewidth=2)
        axes.plot([mean], [place], mark, color=colour, markersize=10 if mark == "|" else 6, markeredgewidth=2)
    axes.set_yticks(range(len(rows)), [row.title for row in rows], fontsize=9, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.04)
    axes.set_xlabel("0: nothing came back    1: everything", fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return as_small_png(figure)
