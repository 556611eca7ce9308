"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from server.audit.page import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
        (0.0, "0.00"),
        (0.0086, "0.009"),
        (0.00019, "0.0002"),
        (0.00005, "< 0.0001"),
        (0.0999, "0.10"),
        (1.0, "1.00"),
        (53.43, "53.43"),
        (106.9, "106.9"),
        (104626.4, "104,626"),
        (-0.5, "-0.50"),
    ],
)
def test_digits_follow_the_size(value: float | None, text: str) -> None:
    assert numbers.shown(value) == text


def test_an_interval_stands_beside_its_mean_and_is_left_out_where_there_is_none() -> None:
    assert numbers.with_interval({"mean": 0.24, "low": 0.2, "high": 0.25}) == "0.24 (0.20 to 0.25)"
    assert numbers.with_interval({"mean": 0.24, "low": None, "high": None}) == "0.24"
    assert numbers.with_interval({"mean": None, "low": None, "high": None}) == numbers.with_interval(None) == "–"
    cell = numbers.cell({"mean": 0.24, "low": 0.2, "high": 0.25})
    assert cell == "<span>0.24</span><small>0.20 to 0.25</small>"


def test_measures_have_names_in_words() -> None:
    assert numbers.measure_name("class/Car/f_score_0.2m") == "F-score at 0.2 m"
    assert numbers.part_name("class/Car/f_score_0.2m") == "points on objects: Car"
    assert numbers.part_name("band/40-infm/chamfer_m") == "points at 40 m and farther"
    assert numbers.part_name("chamfer_m") == "whole scan"
    assert numbers.measure_name("hausdorff_95_m") == "Hausdorff distance 95 %, m"
    assert numbers.measure_name("voxel_iou_0.4m") == "voxel IoU, cubes of 0.4 m"
    assert numbers.measure_name("something_new") == "something new"


def test_the_shown_threshold_is_the_usual_one_or_the_middle() -> None:
    assert numbers.middle_threshold({"f_score_0.1m": 1, "f_score_0.2m": 1, "f_score_0.5m": 1}) == "0.2m"
    assert numbers.middle_threshold({"f_score_1m": 1, "f_score_2m": 1, "f_score_3m": 1}) == "2m"


@pytest.mark.parametrize(("share", "text"), [(0.0, "0 %"), (0.113, "11 %"), (0.0043, "0.4 %"), (1.0, "100 %")])
def test_percent(share: float, text: str) -> None:
    assert numbers.percent(share) == text


def test_intervals_are_called_what_they_are() -> None:
    assert numbers.confidence_of({}) == "95 %"
    assert numbers.confidence_of({"intervals": {"confidence": 0.5}}) == "50 %"
