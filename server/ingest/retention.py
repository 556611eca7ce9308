"""Deletes scenes whose time is over, regularly while the server runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice

from server.records.deletion import BATCH, Deleted, delete_batch, describe_filter, remove_left_over
from server.repositories.access_log import Action
from server.repositories.archive import SceneArchive
from server.repositories.removal import Removal
from server.repositories.repository import SceneFilter
from shared_models.errors import InvalidValueError, UpcycleError
from shared_models.records import check

logger = logging.getLogger(__name__)

_DAY_NS = 86_400 * 10**9
_ACTOR = "server/retention"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionConfig:
    """How long scenes are kept.

    days: days from being stored to being deleted, 1 to 36,500.
    check_s: seconds between two searches for scenes to delete.
    """

    days: int = 365
    check_s: float = 3600.0

    def __post_init__(self) -> None:
        check.count("RetentionConfig", "days", self.days, 36_500)
        if self.check_s <= 0:
            raise InvalidValueError(f"RetentionConfig.check_s: expected more than 0 seconds, got {self.check_s}")


class Retention:
    """Deletes what was stored longer ago than `config` allows; its calls but `sweep_regularly` block."""

    def __init__(
        self, archive: SceneArchive, config: RetentionConfig | None = None, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.config = config or RetentionConfig()
        self._archive, self._clock_ns = archive, clock_ns

    def sweep(self) -> Deleted:
        """Delete every scene whose time is over.

        Raises:
            StorageFullError, StorageError: the database or the disk does not answer.
        """
        deleted = Deleted()
        while batch := self.sweep_batch():
            deleted += batch
        return deleted

    def sweep_batch(self) -> Deleted | None:
        """Delete some of the scenes whose time is over, in one transaction; None where there are none.

        Raises:
            StorageFullError, StorageError: the database or the disk does not answer.
        """
        now_ns = self._clock_ns()
        where = SceneFilter(stored_until_ns=max(now_ns - self.config.days * _DAY_NS, 0))
        ids = [scene.scene_id for scene in islice(self._archive.catalogue.scenes(where), BATCH)]
        if not ids:
            return None
        described = {**describe_filter(where), "days": self.config.days}
        removal = Removal(actor=_ACTOR, at_ns=now_ns, action=Action.RETENTION, where=described)
        return delete_batch(self._archive, ids, removal)

    async def sweep_regularly(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Sweep until cancelled, at once and then every `check_s`; a cancelled sweep ends after its batch."""
        await self._try(lambda: remove_left_over(self._archive))
        while True:
            while await self._try(self.sweep_batch):
                pass
            await sleep(self.config.check_s)

    async def _try(self, work: Callable[[], Deleted | int | None]) -> Deleted | int | None:
        running = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise
        except UpcycleError as error:
            logger.error("scenes whose time is over cannot be deleted: %s", error)
            return None


@asynccontextmanager
async def retaining(archive: SceneArchive, days: int | None) -> AsyncIterator[None]:
    """Delete what is older than `days` inside the block; None keeps everything."""
    if days is None:
        yield
        return
    sweeping = asyncio.create_task(Retention(archive, RetentionConfig(days=days)).sweep_regularly())
    try:
        yield
    finally:
        sweeping.cancel()
        await asyncio.wait([sweeping])
