"""Keeps half-sent payloads within bounds: what vehicles never come back for must not fill the disk."""

from __future__ import annotations

import logging
from collections.abc import Callable

from server.ingest.config import IngestConfig
from server.stores.store import PayloadStore
from shared_models.errors import ServerUnreachableError
from shared_models.records import SceneManifest

logger = logging.getLogger(__name__)

_SHARE = 16  # so much of each limit may come in between two sweeps


class PartialBounds:
    """Admits scenes and drops half-sent payloads; its blocking calls (`sweep`) belong into a thread."""

    def __init__(self, store: PayloadStore, config: IngestConfig, clock_ns: Callable[[], int]) -> None:
        self._store, self._config, self._clock_ns = store, config, clock_ns
        self._announced_bytes = self._announced_count = 0

    def admit(self, manifest: SceneManifest, open_scenes: int, open_bytes: int) -> bool:
        """Whether a sweep is due before `manifest` is opened beside the scenes that are open now.

        Raises:
            ServerUnreachableError: the open scenes alone reach a limit.
        """
        size = manifest.payload_bytes + open_bytes
        # One scene is always let in, or a limit below the largest payload would refuse it for ever.
        if open_scenes and (size > self._config.partial_bytes or open_scenes >= self._config.partial_count):
            raise ServerUnreachableError(
                f"{open_scenes} scenes are coming in already, the most allowed: try again later"
            )
        self._announced_bytes += manifest.payload_bytes
        self._announced_count += 1
        is_due = (
            self._announced_bytes > self._config.partial_bytes // _SHARE
            or self._announced_count > self._config.partial_count // _SHARE
        )
        if is_due:
            self._announced_bytes = self._announced_count = 0
        return is_due

    def sweep(self) -> int:
        """Drop what has expired, and the oldest beyond the limits; returns how many.

        Raises:
            StorageError: the disk does not answer.
        """
        config = self._config
        dropped = self._store.drop_partials(
            config.partial_expiry_s, self._clock_ns() / 1e9, config.partial_bytes, config.partial_count
        )
        if dropped:
            logger.info("half-sent payloads dropped", extra={"dropped": dropped})
        return dropped
