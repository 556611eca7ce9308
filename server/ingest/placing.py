"""Payload and catalogue row together: a payload that no row came to refer to is removed again."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from server.repositories.repository import SceneCatalogue
from server.stores.store import PayloadStore
from shared_models.errors import UpcycleError

logger = logging.getLogger(__name__)

_MOST_LEFT = 10_000  # payloads to come back to; beyond that they stay


class Placing:
    """Guards payloads between commit and row; several scenes may have the same payload at the same time."""

    def __init__(self, store: PayloadStore, catalogue: SceneCatalogue) -> None:
        self._store, self._catalogue = store, catalogue
        self._users: Counter[str] = Counter()
        self._left: dict[str, None] = {}  # payloads that nobody knows to be needed, oldest first
        self._lock = threading.Lock()

    @contextmanager
    def of(self, payload_sha256: str) -> Iterator[None]:
        """Commit the payload and add its row inside; where that fails, what nothing refers to is removed."""
        self.enter(payload_sha256)
        has_failed = True
        try:
            with self._store.hold(payload_sha256):  # against a deletion in another process
                yield
            has_failed = False
        finally:
            self.leave(payload_sha256, has_failed)

    def enter(self, payload_sha256: str) -> None:
        """As `of` on entering, for who holds several payloads in the store at once."""
        with self._lock:
            self._users[payload_sha256] += 1

    def leave(self, payload_sha256: str, has_failed: bool) -> None:
        """As `of` on leaving; not while holding the payload."""
        with self._lock:  # also while removing: nobody may commit the same payload in between
            self._users[payload_sha256] -= 1
            if not self._users[payload_sha256]:
                del self._users[payload_sha256]
                if has_failed:
                    self._remove_unless_referred_to(payload_sha256)

    def remove_left(self) -> int:
        """Come back to payloads of which the database could not say whether a scene has them; returns how many went.

        Of this process only: what one leaves that is killed meanwhile gets its row when the vehicle sends it again.
        """
        removed = 0
        for payload_sha256 in tuple(self._left):
            with self._lock:
                if payload_sha256 in self._users:
                    continue  # whoever places it again decides
                removed += self._remove_unless_referred_to(payload_sha256)
                if payload_sha256 in self._left:
                    break  # the database is still away
        return removed

    def _remove_unless_referred_to(self, payload_sha256: str) -> bool:
        self._left.pop(payload_sha256, None)
        try:
            # The row may be there although the database reported a failure.
            with self._store.hold(payload_sha256, is_alone=True):
                is_needed = self._catalogue.has_payload(payload_sha256)
                if not is_needed:
                    self._store.remove(payload_sha256)
                return not is_needed
        except UpcycleError as error:
            logger.warning("payload kept, for nobody knows whether a scene has it: %s", error)
            if len(self._left) < _MOST_LEFT:
                self._left[payload_sha256] = None
            return False
