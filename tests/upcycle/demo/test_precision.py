from __future__ import annotations

import math

import pytest

from upcycle.demo.precision import Kind, _difference, _interval


def test_the_first_value_is_of_the_scans_as_they_are_and_the_others_make_the_range() -> None:
    draws = [float(value) for value in range(101)]
    assert _interval([40.0, *draws]) == pytest.approx({"value": 40.0, "low": 2.5, "high": 97.5})


def test_draws_without_a_number_are_left_out_and_without_any_there_is_none() -> None:
    assert _interval([1.0, math.nan, 2.0]) == {"value": 1.0, "low": 2.0, "high": 2.0}
    nothing = {"value": None, "low": None, "high": None}
    assert _interval([1.0, math.nan]) == nothing
    assert _interval([math.nan, 2.0]) == nothing


def test_differences_are_of_the_same_draw() -> None:
    gained = _difference({"a": [10.0, 0.0, 50.0]}, {"a": [12.0, 3.0, 53.0]})
    assert gained == {"a": {"value": 2.0, "low": 3.0, "high": 3.0}}


def test_kinds_are_named_as_in_evaluations() -> None:
    assert Kind(metric="bev", overlap="strict").key("Car") == "ap_all/strict/car/bev/moderate"
