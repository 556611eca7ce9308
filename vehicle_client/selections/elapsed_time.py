"""One frame in so many seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from shared_models.records import check
from vehicle_client.selection import Candidate, Selection, Verdict, number_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ElapsedTimeConfig:
    """seconds: from one sent frame to the next, at least."""

    seconds: float = 10.0

    def __post_init__(self) -> None:
        check.number("ElapsedTimeConfig", "seconds", self.seconds, 0.0, 1e9)


class ElapsedTimeSelection(Selection):
    """Frames that lie `seconds` or more behind the last one sent, by the frames' own times.

    A time before the last one sent (another drive, a clock that was put back) counts as elapsed.
    """

    name: ClassVar[str] = "elapsed_time"
    config_class: ClassVar[type[Any]] = ElapsedTimeConfig

    def __init__(self, config: ElapsedTimeConfig) -> None:
        self._seconds = config.seconds
        self._sent_ns: int | None = None

    @property
    def has_scores(self) -> bool:
        return False

    def judge(self, candidate: Candidate) -> Verdict:
        if self._sent_ns is None:
            return Verdict(is_selected=True, reason="elapsed_time: the first frame")
        since_ns = candidate.time_ns - self._sent_ns
        is_due = since_ns < 0 or since_ns >= round(self._seconds * 1e9)
        return Verdict(is_selected=is_due, reason=f"elapsed_time: one frame in {self._seconds:g} s")

    def accept(self, candidate: Candidate) -> None:
        self._sent_ns = candidate.time_ns

    def state(self) -> dict[str, Any]:
        return {"sent_ns": self._sent_ns}

    def restore(self, state: Mapping[str, Any]) -> None:
        is_first = isinstance(state, Mapping) and "sent_ns" in state and state["sent_ns"] is None
        self._sent_ns = None if is_first else int(number_of(self.name, state, "sent_ns"))
