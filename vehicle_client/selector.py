"""A selection at work: its budget, the best frame of each window, and what it remembers over restarts."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from shared_models.errors import ConfigError, InvalidValueError, StorageError, StorageFullError
from shared_models.records import check
from vehicle_client.durable import write_durably
from vehicle_client.period_totals import DAY_S, HOUR_S, PeriodTotals
from vehicle_client.selection import Candidate, Selection, Verdict

FILE_NAME = "selection.json"
KEPT_HOURS, KEPT_DAYS = 48, 62
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorConfig:
    """How much may be selected; what is not given is not limited. Hours and days are those of UTC.

    scenes_per_hour, scenes_per_day: frames, however many codecs each is sent with.
    bytes_per_hour, bytes_per_day: payload bytes of all codecs.
    window_frames: of so many frames in a row at most one is sent, the one with the highest score; 1: all.
    """

    scenes_per_hour: int | None = None
    scenes_per_day: int | None = None
    bytes_per_hour: int | None = None
    bytes_per_day: int | None = None
    window_frames: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                check.count("SelectorConfig", field.name, value, 1 << 62, low=1 if field.name == "window_frames" else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Generic[Item]):
    """What became of one candidate; `item` is what was offered with it."""

    candidate: Candidate
    verdict: Verdict
    item: Item


class Selector(Generic[Item]):
    """Offers each frame to a selection; one process at a time, after `with`.

    State is written after each frame that is sent and at the end. After a crash at most one sent frame is forgotten.
    """

    def __init__(
        self,
        selection: Selection,
        config: SelectorConfig,
        path: Path,
        rule: Mapping[str, Any] | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`rule` describes the selection; where it changes, only the budget is remembered. `now_s`: since the epoch.

        Raises:
            ConfigError: a window is asked for, and the selection has no scores.
        """
        if config.window_frames > 1 and not selection.has_scores:
            raise ConfigError(
                f"selection {selection.name}: window_frames needs a rule with scores (novelty, uncertainty) to tell "
                "the best frame"
            )
        self.selection, self.config, self.rule = selection, config, dict(rule or {"rule": selection.name})
        self._path, self._now_s = path, now_s
        self._best: Decision[Item] | None = None
        self._in_window = 0
        self._totals = {"hour": PeriodTotals(KEPT_HOURS), "day": PeriodTotals(KEPT_DAYS)}

    def __enter__(self) -> Selector[Item]:
        """Read what is remembered; only while this process holds the vehicle's outbox.

        Raises:
            StorageError: the file cannot be read or is damaged.
        """
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            self._totals = {
                "hour": PeriodTotals(KEPT_HOURS, _rows(content["hours"])),
                "day": PeriodTotals(KEPT_DAYS, _rows(content["days"])),
            }
            if content["rule"] == json.loads(json.dumps(self.rule)):
                self.selection.restore(content["state"])
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be read: {error.strerror}; check its permissions") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(
                f"{self._path}: expected what a selection remembers: {error!r}; remove it to begin anew"
            ) from error
        return self

    def __exit__(self, *exception: object) -> None:
        self._save()

    def offer(self, candidate: Candidate, item: Item) -> list[Decision[Item]]:
        """Look at the next frame: what is decided now, of this one or of one that was held back."""
        verdict = self.selection.judge(candidate)
        decision = Decision(candidate=candidate, verdict=verdict, item=item)
        if self.config.window_frames == 1:
            return [decision]
        decided = [self._compare(decision)] if verdict.is_selected else [decision]
        self._in_window += 1
        ended = self.flush() if self._in_window >= self.config.window_frames else []
        return [each for each in decided if each is not None] + ended

    def flush(self) -> list[Decision[Item]]:
        """End the window: the frame that was held back, if any."""
        best, self._best, self._in_window = self._best, None, 0
        return [] if best is None else [best]

    def over_budget(self, size: int = 0) -> str | None:
        """Why a frame of `size` payload bytes may not be sent now; None where it may."""
        for period, number in self._now().items():
            for name, more in (("scenes", 1), ("bytes", size)):
                limit = getattr(self.config, f"{name}_per_{period}")
                if limit is not None and self._totals[period].spent(number, name) + more > limit:
                    return f"budget: {limit} {name} per {period}"
        return None

    def sent(self, candidate: Candidate, size: int) -> None:
        """This frame was put into the outbox; durable when it returns.

        Raises:
            StorageFullError, StorageError: it cannot be written down.
        """
        self.selection.accept(candidate)
        for period, number in self._now().items():
            self._totals[period].add(number, "scenes", 1)
            self._totals[period].add(number, "bytes", size)
        self._save()

    def report(self) -> dict[str, Any]:
        """Rule and use of its budget, ready for JSON."""
        used = {
            f"{name}_this_{period}": self._totals[period].spent(number, name)
            for period, number in self._now().items()
            for name in ("scenes", "bytes")
        }
        return {"rule": self.rule, **used}

    def _compare(self, decision: Decision[Item]) -> Decision[Item] | None:
        """Keep the better of two; the other is decided. The earlier one wins a draw."""
        best = self._best
        if best is None:
            self._best = decision
            return None
        is_better = (decision.verdict.score or 0.0) > (best.verdict.score or 0.0)
        worse, self._best = (best, decision) if is_better else (decision, best)
        reason = f"window: a better one of {self.config.window_frames} frames"
        return replace(worse, verdict=replace(worse.verdict, is_selected=False, reason=reason))

    def _now(self) -> dict[str, int]:
        now_s = self._now_s()
        return {"hour": int(now_s // HOUR_S), "day": int(now_s // DAY_S)}

    def _save(self) -> None:
        content = {
            "version": 1,
            "rule": self.rule,
            "state": self.selection.state(),
            "hours": self._totals["hour"].rows(),
            "days": self._totals["day"].rows(),
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self._path, json.dumps(content).encode())
        except OSError as error:
            kind = StorageFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
            raise kind(f"{self._path}: cannot be written: {error.strerror}; check space and permissions") from error


def _rows(given: Mapping[str, Mapping[str, int]]) -> dict[int, dict[str, int]]:
    rows = {int(period): dict(amounts) for period, amounts in given.items()}
    if not all(isinstance(amount, int) and amount >= 0 for amounts in rows.values() for amount in amounts.values()):
        raise InvalidValueError("expected whole numbers, 0 or more")
    return rows
