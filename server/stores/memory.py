"""Payloads in memory, for tests and trials: gone when the process ends."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from server.stores.store import HeldPartial, PartialPayload, PayloadStore, to_drop
from shared_models.errors import NotFoundError


class MemoryPayloadStore(PayloadStore):
    """Payloads in a dict."""

    def __init__(self) -> None:
        self._payloads: dict[str, bytes] = {}
        self._partials: dict[str, _MemoryPartial] = {}
        self._in_use: set[str] = set()
        self._lock = threading.Lock()
        self._holders: Counter[str] = Counter()
        self._has_let_go = threading.Condition()

    def open_partial(self, key: str) -> PartialPayload:
        with self._lock:
            self._in_use.add(key)
            return self._partials.setdefault(key, _MemoryPartial(self, key))

    def partial_bytes(self, key: str) -> int:
        with self._lock:
            return self._partials[key].size if key in self._partials else 0

    def drop_partials(
        self, older_than_s: float, now_s: float, keep_bytes: int | None = None, keep_count: int | None = None
    ) -> int:
        with self._lock:
            held = [HeldPartial(key=k, size=p.size, changed_s=p.changed_s) for k, p in self._partials.items()]
            dropped = to_drop(held, self._in_use, older_than_s, now_s, keep_bytes, keep_count)
            for key in dropped:
                del self._partials[key]
        return len(dropped)

    def read(self, sha256: str) -> bytes:
        with self._lock:
            if sha256 not in self._payloads:
                raise NotFoundError(f"payload {sha256[:12]} is not in memory")
            return self._payloads[sha256]

    def has(self, sha256: str) -> bool:
        with self._lock:
            return sha256 in self._payloads

    def remove(self, sha256: str) -> None:
        with self._lock:
            self._payloads.pop(sha256, None)

    def close(self) -> None:
        pass

    @contextmanager
    def hold(self, sha256: str, is_alone: bool = False) -> Iterator[None]:
        with self._has_let_go:
            self._has_let_go.wait_for(lambda: self._holders[sha256] == 0 if is_alone else self._holders[sha256] >= 0)
            self._holders[sha256] += -1 if is_alone else 1  # -1: somebody alone
        try:
            yield
        finally:
            with self._has_let_go:
                self._holders[sha256] -= -1 if is_alone else 1
                self._has_let_go.notify_all()

    def let_go(self, key: str) -> None:
        """Nobody uses the partial under `key` any more."""
        with self._lock:
            self._in_use.discard(key)

    def take(self, key: str, payload: bytes | None = None) -> None:
        """End the partial under `key`; keep `payload` where there is one."""
        with self._lock:
            self._partials.pop(key, None)
            self._in_use.discard(key)
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
        self._store.let_go(self._key)
