from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_models.errors import ServerUnreachableError
from vehicle_client.backoff import Backoff, Patience

UNIT = st.floats(0.0, 1.0)


@given(failures=st.integers(1, 10_000), unit=UNIT, first_s=st.floats(0.001, 10.0), factor=st.floats(1.0, 1000.0))
def test_a_delay_is_between_half_and_all_of_the_doubled_one(failures: int, unit: float, first_s: float, factor: float):
    max_s, full_s = first_s * factor, first_s
    for _ in range(min(failures, 20) - 1):  # 2^20 is beyond every factor
        full_s = min(max_s, 2 * full_s)
    delay_s = Backoff(first_s, max_s, 3600.0, lambda: unit).delay_s(failures)
    assert 0.5 * full_s * (1 - 1e-9) <= delay_s <= full_s * (1 + 1e-9)


def test_delays_of_many_vehicles_are_spread_over_the_whole_half():
    draws = iter([step / 999 for step in range(1000)])
    delays = [Backoff(1.0, 30.0, 3600.0, lambda: next(draws)).delay_s(4) for _ in range(1000)]
    assert (min(delays), max(delays)) == (4.0, 8.0)
    assert [sum(low <= each < low + 1 for each in delays) for low in (4, 5, 6, 7)] == pytest.approx([250] * 4, abs=2)


@given(asked_s=st.floats(0.0, 3600.0), failures=st.integers(1, 100), unit=UNIT)
def test_the_server_is_never_asked_before_it_wants_to(asked_s: float, failures: int, unit: float):
    backoff = Backoff(0.2, 30.0, 3600.0, lambda: unit)
    assert backoff.delay_s(failures, asked_s) == max(asked_s, backoff.delay_s(failures))


def test_a_senseless_wish_is_cut():
    assert Backoff(0.2, 30.0, 3600.0, lambda: 1.0).delay_s(1, 2.0**32 / 1000) == 3600.0


def test_patience_runs_from_the_first_failure_after_progress():
    now_s = [100.0]
    patience, broken = Patience(10.0, lambda: now_s[0]), ServerUnreachableError("broken")
    patience.check(broken)
    now_s[0] += 9.9
    patience.check(broken)
    patience.renew()
    now_s[0] += 50.0
    patience.check(broken)
    now_s[0] += 10.0
    with pytest.raises(ServerUnreachableError, match="gave up after 10 s without progress: broken"):
        patience.check(broken)


def test_without_a_limit_patience_has_no_end():
    now_s = [0.0]
    patience = Patience(None, lambda: now_s[0])
    for _ in range(3):
        patience.check(ServerUnreachableError("broken"))
        now_s[0] += 1e9
