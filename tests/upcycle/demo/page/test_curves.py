from __future__ import annotations

import re

import pytest

from upcycle.demo.page import curves


def places(svg: str) -> list[list[tuple[float, float]]]:
    """Corners of each line drawn."""
    found = re.findall(r'points="([^"]*)"', svg)
    return [[(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())] for line in found]


def test_curves_go_on_where_the_first_ends() -> None:
    svg = curves.drawing({"first": [[10, 2.0], [20, 1.0]], "then": [[10, 1.0]]}, "loss", starts_at={"then": 30})
    first, then = places(svg)
    left, right = curves.LEFT, curves.WIDTH - curves.RIGHT
    assert first[0] == pytest.approx((left + (right - left) / 4, curves.TOP), abs=0.06)
    assert first[1][0] == (left + right) / 2
    assert then == [(right, first[1][1])]


def test_numbers_that_are_none_are_left_out_and_nothing_says_so() -> None:
    (line,) = places(curves.drawing({"a": [[1, float("nan")], [2, 3.0]]}, "loss"))
    assert len(line) == 1
    assert curves.drawing({"a": [[1, float("nan")]]}, "loss") == "<p>no curve was logged</p>"


def test_names_are_escaped() -> None:
    svg = curves.drawing({"<a>": [[1, 1.0]]}, "<b>")
    assert "&lt;a&gt;" in svg
    assert "<b>" not in svg


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 430.0, [0, 50, 100, 150, 200, 250, 300, 350, 400]),
        (0.0, 2.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0]),
        (-1.0, 4.2, [-1, 0, 1, 2, 3, 4]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert curves._ticks(low, high) == pytest.approx(ticks)
