"""Payloads in memory, for tests and trials: gone when the process ends."""

from __future__ import annotations

import hashlib
import threading
import time

from server.stores.store import PartialPayload, PayloadStore
from shared_models.errors import NotFoundError


class MemoryPayloadStore(PayloadStore):
    """Payloads in a dict."""

    def __init__(self) -> None:
        self._payloads: dict[str, bytes] = {}
        self._partials: dict[str, _MemoryPartial] = {}
        self._lock = threading.Lock()

    def open_partial(self, key: str) -> PartialPayload:
        with self._lock:
            return self._partials.setdefault(key, _MemoryPartial(self, key))

    def partial_bytes(self, key: str) -> int:
        with self._lock:
            return self._partials[key].size if key in self._partials else 0

    def drop_partials(self, older_than_s: float, now_s: float) -> int:
        with self._lock:
            stale = [key for key, partial in self._partials.items() if now_s - partial.changed_s > older_than_s]
            for key in stale:
                del self._partials[key]
        return len(stale)

    def read(self, sha256: str) -> bytes:
        with self._lock:
            if sha256 not in self._payloads:
                raise NotFoundError(f"payload {sha256[:12]} is not in memory")
            return self._payloads[sha256]

    def has(self, sha256: str) -> bool:
        with self._lock:
            return sha256 in self._payloads

    def take(self, key: str, payload: bytes | None = None) -> None:
        """End the partial under `key`; keep `payload` where there is one."""
        with self._lock:
            self._partials.pop(key, None)
            if payload is not None:
                self._payloads[hashlib.sha256(payload).hexdigest()] = payload


class _MemoryPartial(PartialPayload):
    def __init__(self, store: MemoryPayloadStore, key: str) -> None:
        self._store, self._key = store, key
        self._data = bytearray()
        self.changed_s = time.time()

    @property
    def size(self) -> int:
        return len(self._data)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self._data).hexdigest()

    def append(self, data: bytes) -> None:
        self._data += data
        self.changed_s = time.time()

    def read(self) -> bytes:
        return bytes(self._data)

    def commit(self) -> str:
        self._store.take(self._key, bytes(self._data))
        return self.sha256

    def discard(self) -> None:
        self._store.take(self._key)

    def close(self) -> None:
        pass
