"""Amounts by period of time (days, hours) and name, such that no change of the clock gives a period's budget twice."""

from __future__ import annotations

from collections.abc import Mapping

DAY_S, HOUR_S = 86_400, 3_600


class PeriodTotals:
    """What was spent in each of the latest `kept` periods; a period is a number counted since 1970-01-01 UTC.

    A clock that goes back finds what it had spent in that period. Where the period is older than all that are kept,
    the oldest kept one counts in its place, so that what was forgotten is not granted again.
    """

    def __init__(self, kept: int, rows: Mapping[int, Mapping[str, int]] | None = None) -> None:
        self._kept = kept
        self._rows = {period: dict(amounts) for period, amounts in (rows or {}).items()}
        self._forget()

    def rows(self) -> dict[int, dict[str, int]]:
        """All that is kept, oldest first."""
        return {period: dict(self._rows[period]) for period in sorted(self._rows)}

    def counted_as(self, period: int) -> int:
        """The period whose amounts count when the clock says `period`."""
        return max(period, min(self._rows)) if len(self._rows) >= self._kept else period

    def spent(self, period: int, name: str) -> int:
        """What `name` has spent in this period."""
        return self._rows.get(self.counted_as(period), {}).get(name, 0)

    def add(self, period: int, name: str, amount: int) -> None:
        """Spend so much more."""
        self.put(period, name, self.spent(period, name) + amount)

    def put(self, period: int, name: str, amount: int) -> None:
        """Replace what `name` has spent in this period."""
        self._rows.setdefault(self.counted_as(period), {})[name] = amount
        self._forget()

    def _forget(self) -> None:
        for period in sorted(self._rows)[: -self._kept]:
            del self._rows[period]
