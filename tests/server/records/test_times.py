"""Points in time at the command line."""

from __future__ import annotations

import pytest

from server.records.times import parse_time_ns
from shared_models.errors import InvalidValueError


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("1970-01-02", 86_400 * 10**9),
        ("2023-11-14T22:13:20Z", 1_700_000_000 * 10**9),
        ("2023-11-14T23:13:20.000001+01:00", 1_700_000_000 * 10**9 + 1000),
    ],
)
def test_times(text: str, expected_ns: int) -> None:
    assert parse_time_ns(text) == expected_ns


@pytest.mark.parametrize("text", ["yesterday", "1969-12-31", "2023-13-01", "5"])
def test_no_times(text: str) -> None:
    with pytest.raises(InvalidValueError, match="time: expected"):
        parse_time_ns(text)
