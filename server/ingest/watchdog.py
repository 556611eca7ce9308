"""Looks at disk and catalogue every few seconds: health follows, and a disk that is nearly full takes no new scenes."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from server.ingest.metrics import IngestMetrics
from server.repositories.repository import SceneCatalogue
from server.stores.store import PayloadStore
from shared_models.errors import InvalidValueError, StorageError, StorageFullError, UpcycleError

logger = logging.getLogger(__name__)

_PROBE = "0" * 64  # no scene's id


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogConfig:
    """When the server counts as unhealthy.

    check_s: seconds between two checks.
    slow_s: a check that takes longer than this counts as failed.
    min_free_bytes: with less free space in the data folder no new scene is taken; open ones and the catalogue have it.
    """

    check_s: float = 5.0
    slow_s: float = 20.0
    min_free_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        if self.check_s <= 0 or self.slow_s <= 0 or self.min_free_bytes < 0:
            raise InvalidValueError(f"WatchdogConfig: expected times above 0 and 0 or more bytes, got {self}")


class Watchdog:
    """Checks one server's catalogue and store."""

    def __init__(
        self,
        config: WatchdogConfig,
        store: PayloadStore,
        catalogue: SceneCatalogue,
        metrics: IngestMetrics,
        folder: Path | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """folder: whose file system must have space left; None where the store has none."""
        self._config, self._store, self._catalogue, self._metrics = config, store, catalogue, metrics
        self._folder, self._clock_s = folder, clock_s
        self._full: StorageFullError | None = None
        self.trouble: UpcycleError | None = None
        self._running: asyncio.Future[None] | None = None

    def check_space(self) -> None:
        """Raises StorageFullError: the last check found too little free space."""
        if self._full is not None:
            raise self._full

    def check(self) -> None:
        """Use disk and catalogue as an upload would; blocks.

        Raises:
            StorageFullError, StorageError: they do not work.
        """
        self._full = self._look_for_space()
        started_s = self._clock_s()
        self._catalogue.find([_PROBE])
        self._metrics.catalogue_s.observe(self._clock_s() - started_s)
        probe = self._store.open_partial(_PROBE)
        try:
            probe.append(b"probe")
        finally:
            probe.discard()
        if self._full is not None:
            raise self._full

    async def watch(
        self,
        in_thread: Callable[[Callable[[], None]], Awaitable[None]],
        on_change: Callable[[bool], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Check until cancelled; `on_change` learns at first, and at each change, whether the server is healthy."""
        is_healthy: bool | None = None
        try:
            while True:
                self.trouble = await self._find_trouble(in_thread)
                if is_healthy is not (self.trouble is None):
                    is_healthy = self.trouble is None
                    _log(self.trouble)
                    await on_change(is_healthy)
                await sleep(self._config.check_s)
        finally:
            if self._running is not None:
                await asyncio.wait([self._running])

    async def _find_trouble(self, in_thread: Callable[[Callable[[], None]], Awaitable[None]]) -> UpcycleError | None:
        # A check that hangs cannot be stopped: it is waited for again, and no other is started beside it.
        running = self._running = self._running or asyncio.ensure_future(in_thread(self.check))
        done, _ = await asyncio.wait([running], timeout=self._config.slow_s)
        if not done:
            return StorageError(f"disk or catalogue has not answered for {self._config.slow_s:g} s")
        self._running = None
        try:
            running.result()
        except UpcycleError as error:
            return error
        return None

    def _look_for_space(self) -> StorageFullError | None:
        if self._folder is None:
            return None
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise StorageError(f"{self._folder}: {error.strerror}: check the disk") from error
        self._metrics.disk_free_bytes.set(free)
        if free >= self._config.min_free_bytes:
            return None
        return StorageFullError(
            f"{free} bytes are free on the server's disk, fewer than the {self._config.min_free_bytes} that stay free: "
            "make room"
        )


def _log(trouble: UpcycleError | None) -> None:
    if trouble is None:
        logger.info("disk and catalogue work")
    else:
        logger.error("not serving: %s", trouble)
