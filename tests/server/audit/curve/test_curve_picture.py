from __future__ import annotations

from typing import Any

import pytest

from server.audit.curve.curve_picture import draw_curve

pytest.importorskip("matplotlib")
METRIC, MEASURE = "ap_all/loose/car/3d/moderate", "f_score_0.2m"


def estimate(mean: float | None, reach: float | None = None) -> dict[str, Any]:
    ends = (None, None) if mean is None or reach is None else (mean - reach, mean + reach)
    return {"mean": mean, "low": ends[0], "high": ends[1], "scenes": 8}


def cell(name: str, f_score: float, ap: float, reach: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "codec": "float16",
        "state": "finished",
        "bytes_per_scene": 25_000.0,
        "ap": {METRIC: estimate(ap, reach)},
        "leakage": {"home": {MEASURE: {"attack": "cells", "estimate": estimate(f_score, reach)}}},
    }


def curve(*cells: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "small",
        "training": {"steps": 5, "evaluation": {"frames": 8, "is_simulated": True}, "metrics": [METRIC]},
        "audit": {"victims": [{"name": "home", "scenes": 6, "is_simulated": True, "relation": "same city, $5"}]},
        "measures": [MEASURE, "above_ground/f_score_0.2m", "verbatim_share"],
        "start": {METRIC: estimate(50.0)},
        "controls": [{"name": "labelled", "ap": {METRIC: estimate(51.0)}}],
        "floors": {"home": {"mean scene": {MEASURE: estimate(0.2)}, "random": {MEASURE: estimate(None)}}},
        "ceilings": {"home": {"raw points": {MEASURE: estimate(1.0)}}},
        "cells": list(cells),
    }


def test_the_picture_is_a_png_that_depends_on_the_cells() -> None:
    one = draw_curve(curve(cell("none $", 0.5, 60.0, 0.1)), "home")
    assert one.startswith(b"\x89PNG")
    assert draw_curve(curve(cell("none $", 0.5, 60.0, 0.1)), "home") == one
    assert draw_curve(curve(cell("none $", 0.4, 60.0, None)), "home") != one


def test_a_curve_without_any_finished_cell_is_drawn_too() -> None:
    missing = {"name": "none", "codec": "int8", "state": "missing", "error": ""}
    assert draw_curve(curve(missing), "home").startswith(b"\x89PNG")


def test_what_has_no_number_is_left_out() -> None:
    """As where no scene has a car: the cell stays in the table, and no mark is drawn."""
    whole, empty = cell("none", 0.5, 60.0, 0.1), cell("noise", 0.4, 60.0, None)
    empty["leakage"]["home"][MEASURE]["estimate"]["mean"] = None
    picture = draw_curve(curve(whole, empty), "home")
    assert picture == draw_curve(curve(whole), "home")
    start = curve(whole)
    start["start"] = {METRIC: estimate(None)}
    assert draw_curve(start, "home") != picture
