"""Bytes that were sent on each link on each day (UTC), on disk before they are granted."""

from __future__ import annotations

import errno
import json
from datetime import date
from pathlib import Path

from shared_models.errors import StorageError, StorageFullError
from vehicle_client.durable import write_durably
from vehicle_client.period_totals import PeriodTotals

KEPT_DAYS = 62
RESERVED_BYTES = 1 << 20  # written down ahead of use: one durable write for so many bytes
RESERVED_BYTES_UNLIMITED = 16 << 20  # the same where there is no budget to keep
_DAY_ZERO = date(1970, 1, 1).toordinal()


def iso_date(day: int) -> str:
    """A day's number, counted since 1970-01-01, as a date; days that no calendar has are the nearest it has."""
    return date.fromordinal(min(max(_DAY_ZERO + day, 1), date.max.toordinal())).isoformat()


class DailyLedger:
    """How much each link has sent on each day; survives restarts and `kill -9`.

    The file is always ahead of what was granted, by at most the reserve: a crash loses at most that much of the day's
    budget and never gives a byte twice. `close` writes the exact numbers. One process at a time.
    """

    def __init__(self, path: Path) -> None:
        """Raises:
        StorageError: the file cannot be read or is damaged.
        """
        self._path = path
        self._written = PeriodTotals(KEPT_DAYS, _read(path))
        self._spent = PeriodTotals(KEPT_DAYS, self._written.rows())

    def spent(self, day: int, link: str) -> int:
        """Bytes that `link` has sent on that day."""
        return self._spent.spent(day, link)

    def take(self, day: int, link: str, size: int, budget: int | None) -> bool:
        """Spend `size` bytes of that day's budget; False where so much is not left. None is no budget: only counted.

        Raises:
            StorageFullError, StorageError: it cannot be written down; nothing was granted.
        """
        total = self._spent.spent(day, link) + size
        if budget is not None and total > budget:
            return False
        if total > self._written.spent(day, link):
            ahead = total + RESERVED_BYTES_UNLIMITED if budget is None else min(budget, total + RESERVED_BYTES)
            self._write(day, link, ahead)
        self._spent.put(day, link, total)
        return True

    def close(self) -> None:
        """Write what was really spent.

        Raises:
            StorageFullError, StorageError: it cannot be written; the file stays ahead of it.
        """
        if self._written.rows() != self._spent.rows():
            self._save(self._spent)
            self._written = PeriodTotals(KEPT_DAYS, self._spent.rows())

    def _write(self, day: int, link: str, amount: int) -> None:
        ahead = PeriodTotals(KEPT_DAYS, self._written.rows())
        ahead.put(day, link, amount)
        self._save(ahead)
        self._written = ahead

    def _save(self, totals: PeriodTotals) -> None:
        content = {"version": 1, "days": {iso_date(day): amounts for day, amounts in totals.rows().items()}}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self._path, json.dumps(content, indent=1).encode())
        except OSError as error:
            kind = StorageFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
            raise kind(f"{self._path}: cannot be written: {error.strerror}; check space and permissions") from error


def _read(path: Path) -> dict[int, dict[str, int]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        days = {date.fromisoformat(day).toordinal() - _DAY_ZERO: dict(sent) for day, sent in content["days"].items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}; check its permissions") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            f"{path}: expected the bytes sent on each day: {error!r}; remove it to begin counting anew"
        ) from error
    if not all(isinstance(amount, int) and amount >= 0 for sent in days.values() for amount in sent.values()):
        raise StorageError(f"{path}: expected whole numbers of bytes, 0 or more; remove it to begin counting anew")
    return days
