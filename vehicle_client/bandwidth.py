"""How much may be sent, and when: a rate and a daily budget for each class of link.

    bandwidth = Bandwidth(BandwidthConfig(link="cellular", cellular=LinkConfig(daily_bytes=200_000_000)), path)
    with bandwidth:                                  # reads what was sent before; writes the exact numbers at the end
        wait = bandwidth.ask(len(chunk))             # None: send it now; else ask again after `wait.seconds`
        codec = bandwidth.codec(accepted, waiting_bytes)

Counted are bytes of payload that are handed to the connection, repetitions included; what gRPC, TLS and TCP add is not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shared_models import codecs
from shared_models.errors import CodecRefusedError, InvalidValueError, StorageError
from shared_models.records import check
from vehicle_client.daily_ledger import DailyLedger, iso_date
from vehicle_client.link import LARGE_CHUNK_BYTES, LINKS, NO_LINK, SMALL_CHUNK_BYTES, LinkSource
from vehicle_client.period_totals import DAY_S
from vehicle_client.token_bucket import TokenBucket

FILE_NAME = "bandwidth.json"
AUTO = "auto"  # in the place of a codec's name: chosen by what is left of the budget
MAX_WAIT_S = 30.0  # a change of link or clock is seen after so long at the latest
_MAX_BYTES = 1 << 62


def _codec_steps() -> dict[str, float]:
    return {"float16": 0.5, "int8": 0.1, "int4": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """What one class of link may carry; what is not given is not limited.

    rate_bytes_s: bytes per second in the long run; None: no limit.
    burst_bytes: bytes that may go at once after a pause.
    chunk_bytes: bytes in one message, as far as the server takes so many; what is cut off under way is sent again.
        None: 256 KiB on cellular, else 1 MiB.
    daily_bytes: bytes per day (UTC); None: no limit.
    codecs: for `auto`: each codec with the share of the day's budget, 0 to 1, from which on it is used; one has 0.
    """

    rate_bytes_s: float | None = None
    burst_bytes: int = 1 << 20
    chunk_bytes: int | None = None
    daily_bytes: int | None = None
    codecs: Mapping[str, float] = field(default_factory=_codec_steps)

    def __post_init__(self) -> None:
        if self.rate_bytes_s is not None:
            check.number("LinkConfig", "rate_bytes_s", self.rate_bytes_s, 1.0, 1e15)
        check.count("LinkConfig", "burst_bytes", self.burst_bytes, _MAX_BYTES)
        if self.chunk_bytes is not None:
            check.count("LinkConfig", "chunk_bytes", self.chunk_bytes, LARGE_CHUNK_BYTES)
        if self.daily_bytes is not None:
            check.count("LinkConfig", "daily_bytes", self.daily_bytes, _MAX_BYTES, low=0)
        check.number("LinkConfig", "codecs", tuple(self.codecs.values()), 0.0, 1.0)
        if 0.0 not in self.codecs.values() or len(set(self.codecs.values())) != len(self.codecs):
            raise InvalidValueError(
                f"LinkConfig.codecs: expected different shares, one of them 0, got {dict(self.codecs)}"
            )
        for name in self.codecs:
            codecs.build(name)  # an unknown name is refused before the drive


@dataclass(frozen=True, slots=True, kw_only=True)
class BandwidthConfig:
    """Which link there is, and what each class of link may carry.

    link: cellular, wifi, ethernet; or file:PATH or command:LINE, which say one of these or none.
    fallback: what counts where file or command cannot be asked or say something else.
    recheck_s: seconds after which file or command are asked again.
    """

    link: str = "cellular"
    fallback: str = "cellular"
    recheck_s: float = 30.0
    cellular: LinkConfig = field(default_factory=LinkConfig)
    wifi: LinkConfig = field(default_factory=LinkConfig)
    ethernet: LinkConfig = field(default_factory=LinkConfig)

    def __post_init__(self) -> None:
        if self.fallback not in (*LINKS, NO_LINK):
            raise InvalidValueError(
                f"BandwidthConfig.fallback: expected {', '.join(LINKS)} or {NO_LINK}, got {self.fallback!r}"
            )
        check.number("BandwidthConfig", "recheck_s", self.recheck_s, 0.0, 1e9)
        LinkSource(self.link, self.fallback, self.recheck_s)  # an unknown kind is refused before the drive

    def codec_tables(self) -> dict[str, Mapping[str, float]]:
        """The codecs of each class of link that may come."""
        links = LinkSource(self.link, self.fallback, self.recheck_s).possible()
        return {link: self.of(link).codecs for link in links}

    def of(self, link: str) -> LinkConfig:
        """Settings of one class of link."""
        config: LinkConfig = getattr(self, link)
        return config


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A chunk that may not go yet.

    seconds: ask again after so long, `MAX_WAIT_S` at most.
    closed: why nothing more can go for a long time; None where it is only the rate.
    """

    seconds: float
    closed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkCounts:
    """What one class of link has done.

    sent_today_bytes: on this day (UTC), earlier processes included.
    left_bytes: of the day's budget; None where there is none.
    throttled_s: seconds that chunks had to wait in this process, for rate, budget or a link.
    """

    sent_today_bytes: int
    left_bytes: int | None
    throttled_s: float


class Bandwidth:
    """Rates, budgets and counters of one vehicle; safe to use from several threads of one process."""

    def __init__(
        self,
        config: BandwidthConfig,
        path: Path,
        clock_s: Callable[[], float] = time.monotonic,
        now_s: Callable[[], float] = time.time,
        link: LinkSource | None = None,
    ) -> None:
        """`path` is the file of what was sent; `now_s` tells seconds since the epoch; clocks are replaced in tests."""
        self.config, self._path, self._clock_s, self._now_s = config, path, clock_s, now_s
        self._link = link or LinkSource(config.link, config.fallback, config.recheck_s, clock_s)
        self._buckets = {n: TokenBucket(config.of(n).rate_bytes_s, config.of(n).burst_bytes) for n in LINKS}
        self._throttled_s = dict.fromkeys((*LINKS, NO_LINK), 0.0)
        self._wanted = 1  # size of the last chunk for which the budget was too small
        self._waiting: tuple[str, float, float] | None = None  # link, since when, for how long at most
        self._ledger: DailyLedger | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Bandwidth:
        """Read what was sent before; only while this process holds the vehicle's outbox.

        Raises:
            StorageError: the file cannot be read or is damaged.
        """
        self._ledger = DailyLedger(self._path)
        self._link.current()  # a command is waited for here, and later not any more
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._opened().close()

    def chunk_bytes(self) -> int:
        """How much should go at once on the present link."""
        with self._lock:
            link = self._link.current()
        given = None if link == NO_LINK else self.config.of(link).chunk_bytes
        return given or (LARGE_CHUNK_BYTES if link in ("wifi", "ethernet") else SMALL_CHUNK_BYTES)

    def ask(self, size: int) -> Wait | None:
        """Whether a chunk of so many bytes may be sent now; None: yes, and it is counted as sent.

        Raises:
            StorageFullError, StorageError: what was sent cannot be written down; the chunk must not go.
        """
        with self._lock:
            link, now_s = self._settle_wait()
            closed = self._closed(link, size)
            wait_s = 0.0 if closed else self._buckets[link].wait_s(size, now_s)
            if not closed and wait_s <= 0.0 and self._take(link, size, now_s):
                return None
            if closed and link != NO_LINK:
                self._wanted = size
            return self._wait(link, now_s, wait_s, closed)

    def closed(self) -> Wait | None:
        """Why nothing can go for a long time: no link, or a spent budget; None where a chunk may be asked for."""
        with self._lock:
            link, now_s = self._settle_wait()
            reason = self._closed(link, self._wanted)
            return None if reason is None else self._wait(link, now_s, 0.0, reason)

    def codec(self, accepted: Collection[str] | None, waiting_bytes: int = 0) -> str:
        """The codec for the next scene: the finest whose share of the day's budget is still left.

        accepted: what the server takes; None where that is not known yet.
        waiting_bytes: what waits to be sent before it, taken off the budget.

        Raises:
            CodecRefusedError: the server accepts none of the link's codecs.
        """
        with self._lock:
            link = self._link.current()
            link = self.config.fallback if link == NO_LINK else link
            link = LINKS[0] if link == NO_LINK else link
            config = self.config.of(link)
            left = self._left(link)
        share = 1.0 if left is None else max(0, left - waiting_bytes) / max(1, config.daily_bytes or 0)
        return choose_codec(config.codecs, share, accepted)

    def report(self) -> dict[str, Any]:
        """Counters of all classes of link, ready for JSON."""
        with self._lock:
            day = self._day()
            counts = {
                link: LinkCounts(
                    sent_today_bytes=self._opened().spent(day, link),
                    left_bytes=self._left(link),
                    throttled_s=round(self._throttled_s[link], 3),
                )
                for link in LINKS
            }
            without = round(self._throttled_s[NO_LINK], 3)
            now = self._link.current()
        links = {link: asdict(each) for link, each in counts.items()}
        return {"day": iso_date(day), "link": now, "links": links, "without_link_s": without}

    def _take(self, link: str, size: int, now_s: float) -> bool:
        if not self._opened().take(self._day(), link, size, self.config.of(link).daily_bytes):
            return False  # midnight has passed since it was looked at
        self._buckets[link].take(size, now_s)
        self._wanted = 1
        return True

    def _closed(self, link: str, size: int) -> str | None:
        if link == NO_LINK:
            return "there is no link"
        left = self._left(link)
        if left is None or left >= size:
            return None
        return (
            f"the day's budget of {self.config.of(link).daily_bytes} bytes on {link} is spent but for {left}: wait for "
            "midnight (UTC) or another link, or raise daily_bytes"
        )

    def _left(self, link: str) -> int | None:
        budget = self.config.of(link).daily_bytes
        return None if budget is None else max(0, budget - self._opened().spent(self._day(), link))

    def _wait(self, link: str, now_s: float, wait_s: float, closed: str | None) -> Wait:
        if closed is not None:
            wait_s = MAX_WAIT_S if link == NO_LINK else DAY_S - self._now_s() % DAY_S
        seconds = min(MAX_WAIT_S, max(wait_s, 0.001))
        self._waiting = (link, now_s, seconds)
        return Wait(seconds=seconds, closed=closed)

    def _settle_wait(self) -> tuple[str, float]:
        """The link and the time now; a wait that was asked for is counted, for as long as it was asked for."""
        now_s = self._clock_s()
        if self._waiting is not None:
            link, since_s, asked_s = self._waiting
            self._throttled_s[link] += min(max(0.0, now_s - since_s), asked_s)
            self._waiting = None
        return self._link.current(), now_s

    def _day(self) -> int:
        return int(self._now_s() // DAY_S)

    def _opened(self) -> DailyLedger:
        if self._ledger is None:
            raise StorageError(f"{self._path}: the bandwidth is not opened yet: use it in a `with`")
        return self._ledger


def choose_codec(steps: Mapping[str, float], share_left: float, accepted: Collection[str] | None) -> str:
    """The codec of the highest step that `share_left` (0 to 1) reaches, of those that the server accepts.

    Where it accepts none that low, the lowest that it accepts.

    Raises:
        CodecRefusedError: it accepts none of them.
    """
    usable = [name for name in sorted(steps, key=lambda n: -steps[n]) if accepted is None or name in accepted]
    if not usable:
        raise CodecRefusedError(
            f"codec {', '.join(steps)} is not accepted, the server accepts {', '.join(sorted(accepted or ()))}"
        )
    return next((name for name in usable if share_left >= steps[name]), usable[-1])
