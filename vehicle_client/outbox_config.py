"""Size of the outbox, and the numbers that it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared_models.errors import InvalidValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxConfig:
    """Size of the spool and what happens when it is full.

    max_bytes: payload bytes that may wait, at most; while a scene is being put its own come on top.
    when_full: "evict" drops the lowest priority, oldest first, counted; "refuse" raises `StorageFullError` in `put`.
    max_dead_letters: refused scenes that are kept for the operator in `dead/`; older ones are only counted.
    max_dead_bytes: their payloads together; the oldest are dropped, counted, and leave manifest and reason behind.
    """

    max_bytes: int = 2 << 30
    when_full: Literal["refuse", "evict"] = "evict"
    max_dead_letters: int = 1000
    max_dead_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        if min(self.max_bytes, self.max_dead_letters, self.max_dead_bytes) < 1:
            raise InvalidValueError(f"OutboxConfig: expected sizes of at least 1, got {self}")
        if self.when_full not in ("refuse", "evict"):
            raise InvalidValueError(f"OutboxConfig.when_full: expected refuse or evict, got {self.when_full!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxCounts:
    """What waits now, and what happened since the outbox was made (restarts included).

    evicted, evicted_bytes: scenes dropped because it was full, and their payloads.
    dead: scenes given up; dead_dropped: those of them whose payload was kept at first and had to go.
    """

    pending: int
    pending_bytes: int
    delivered: int
    dead: int
    evicted: int
    dead_dropped: int = 0
    evicted_bytes: int = 0
