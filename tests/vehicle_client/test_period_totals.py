from __future__ import annotations

import random

from vehicle_client.period_totals import PeriodTotals


def test_amounts_add_up_by_period_and_name():
    totals = PeriodTotals(5)
    totals.add(3, "a", 10)
    totals.add(3, "a", 5)
    totals.add(3, "b", 1)
    totals.add(4, "a", 2)
    assert totals.rows() == {3: {"a": 15, "b": 1}, 4: {"a": 2}}
    assert (totals.spent(3, "a"), totals.spent(9, "a"), totals.spent(-3, "a")) == (15, 0, 0)


def test_a_clock_that_goes_back_finds_what_was_spent():
    totals = PeriodTotals(5)
    for period in (10, 99, 10, 9, 10):
        totals.add(period, "a", 1)
    assert totals.rows() == {9: {"a": 1}, 10: {"a": 3}, 99: {"a": 1}}


def test_what_was_forgotten_is_not_given_again():
    totals = PeriodTotals(3)
    for period in range(10):
        totals.add(period, "a", 7)
    assert list(totals.rows()) == [7, 8, 9]
    assert totals.spent(0, "a") == 7  # counted as the oldest that is kept
    totals.add(0, "a", 1)
    assert totals.rows() == {7: {"a": 8}, 8: {"a": 7}, 9: {"a": 7}}


def test_a_budget_is_given_once_a_period_whatever_the_clock_does():
    totals, granted, generator = PeriodTotals(4), dict.fromkeys(range(40), 0), random.Random(0)
    for _ in range(5000):
        period = generator.randrange(40)
        if totals.spent(period, "a") < 10:
            granted[totals.counted_as(period)] += 1
            totals.add(period, "a", 1)
    assert max(granted.values()) == 10
    assert len(totals.rows()) == 4
