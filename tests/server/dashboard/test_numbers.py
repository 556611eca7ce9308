"""Times and numbers in JSON."""

from __future__ import annotations

import math

from server.dashboard.numbers import finite, iso_time


def test_times() -> None:
    assert iso_time(1_700_000_000_999_999_999) == "2023-11-14T22:13:20Z"
    assert iso_time(0) is None


def test_numbers_that_json_does_not_have() -> None:
    assert [finite(v) for v in (1.5, math.nan, math.inf, -math.inf)] == [1.5, None, None, None]
