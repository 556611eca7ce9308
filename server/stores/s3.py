"""Payloads in an object store with an S3 API, for several servers at once.

    payloads/<sha256>              complete: written with one call
    partial/<scene id>/<offset>    a piece of a half-sent payload; offsets have 20 digits, pieces lie end to end

What came of a payload is gathered in memory up to `piece_bytes` and then written as one piece, so that a scene that
fits into one costs a single call. What is half-sent is what lies in the bucket: any server finds it by listing, also
after the one that wrote it died. A piece is only written where none lies yet. So two servers that have the same scene
open cannot both add to it: the one that comes second is told, and the vehicle begins again on a newer stream.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from server.stores.s3_bucket import Bucket, ListedObject
from server.stores.store import HeldPartial, PartialPayload, PayloadStore, to_drop
from shared_models.errors import (
    InvalidValueError,
    NotFoundError,
    ServerUnreachableError,
    StorageError,
    StorageFullError,
)
from shared_models.records import check

logger = logging.getLogger(__name__)

Hold = Callable[[str, bool], AbstractContextManager[None]]
_OFFSET_DIGITS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class S3StoreConfig:
    """piece_bytes: how much of a half-sent payload is gathered in memory before it is written; a server that dies loses
    that much of each open scene, which the vehicle sends again.
    """

    piece_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        if self.piece_bytes < 1:
            raise InvalidValueError(f"S3StoreConfig.piece_bytes: expected at least 1, got {self.piece_bytes}")


class S3PayloadStore(PayloadStore):
    """Payloads in `bucket`.

    Memory: `piece_bytes` and one chunk for each open scene; and the whole payload of each that is being finished, twice
    for a moment, which `IngestConfig.finishing_at_once` bounds.
    """

    def __init__(self, bucket: Bucket, hold: Hold, config: S3StoreConfig | None = None) -> None:
        """hold: does what `PayloadStore.hold` says, for all servers of this bucket: an object store has no locks."""
        self.bucket, self.config, self._hold = bucket, config or S3StoreConfig(), hold
        self._in_use: Counter[str] = Counter()  # open partials by key, guarded by the lock
        self._lock = threading.Lock()

    def open_partial(self, key: str) -> PartialPayload:
        check.sha256_hex("partial payload", "key", key)
        with self._lock:
            self._in_use[key] += 1
        try:
            return _S3Partial(self, key)
        except (StorageError, StorageFullError):
            self.let_go(key)
            raise

    def let_go(self, key: str) -> None:
        """One user less of the partial under `key`."""
        with self._lock:
            self._in_use -= Counter([key])  # forgets those that nobody uses

    def partial_bytes(self, key: str) -> int:
        check.sha256_hex("partial payload", "key", key)
        return sum(piece.size for piece in self.pieces(key))

    def pieces(self, key: str) -> list[ListedObject]:
        """The pieces under `key` that lie end to end, in order; what lies behind a gap does not count."""
        found, size = list[ListedObject](), 0
        for piece in self.bucket.list(f"partial/{key}/"):
            if piece.key > piece_key(key, size):
                break
            if piece.key == piece_key(
                key, size
            ):  # else a second writer's, which only a server without conditions lets in
                found.append(piece)
                size += piece.size
        return found

    def drop_partials(
        self, older_than_s: float, now_s: float, keep_bytes: int | None = None, keep_count: int | None = None
    ) -> int:
        with self._lock:
            in_use = frozenset(self._in_use)
        dropped = to_drop(self._held(), in_use, older_than_s, now_s, keep_bytes, keep_count)
        for key in dropped:
            self.drop_pieces(key)
        return len(dropped)

    def drop_pieces(self, key: str) -> None:
        """Delete all pieces under `key`, the last first: what is left by a call that fails lies end to end."""
        for piece in reversed(list(self.bucket.list(f"partial/{key}/"))):
            self.bucket.delete(piece.key)

    def _held(self) -> Iterator[HeldPartial]:
        sizes, changes = Counter[str](), dict[str, float]()
        for piece in self.bucket.list("partial/"):
            key = piece.key.split("/")[1]
            sizes[key] += piece.size
            changes[key] = max(piece.changed_s, changes.get(key, 0.0))
        for key, changed_s in changes.items():
            yield HeldPartial(key=key, size=sizes[key], changed_s=changed_s)

    def read(self, sha256: str) -> bytes:
        payload = self.bucket.get(payload_key(sha256))
        if payload is None:
            raise NotFoundError(f"payload {sha256[:12]} is not in {self.bucket.name}")
        actual = hashlib.sha256(payload).hexdigest()
        if actual != sha256:
            raise StorageError(
                f"{self.bucket.name}/{payload_key(sha256)}: damaged, its SHA-256 is {actual[:12]}...: restore the "
                "object from a backup"
            )
        return payload

    def has(self, sha256: str) -> bool:
        return self.bucket.has(payload_key(sha256))

    def remove(self, sha256: str) -> None:
        self.bucket.delete(payload_key(sha256))

    def hold(self, sha256: str, is_alone: bool = False) -> AbstractContextManager[None]:
        check.sha256_hex("payload", "sha256", sha256)
        return self._hold(sha256, is_alone)

    def close(self) -> None:
        self.bucket.close()


class _S3Partial(PartialPayload):
    """Pieces in the bucket up to `_written`, the rest in memory."""

    def __init__(self, store: S3PayloadStore, key: str) -> None:
        self._store, self._key, self._is_open = store, key, True
        self._hash, self._written, self._rest = hashlib.sha256(), 0, bytearray()
        self._whole: bytes | None = None  # between `read` and `commit`, so that it is fetched once
        for data in self._fetch(store.pieces(key)):
            self._hash.update(data)
            self._written += len(data)

    @property
    def size(self) -> int:
        return self._written + len(self._rest)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def append(self, data: bytes) -> None:
        self._whole = None
        self._rest += data
        self._hash.update(data)
        if len(self._rest) < self._store.config.piece_bytes:
            return
        with self._free_when_full():
            is_mine = self._write_rest()
        if not is_mine:
            raise ServerUnreachableError(f"scene {self._key[:12]} is being sent to another server, too; begin it again")

    def read(self) -> bytes:
        if self._whole is None:
            pieces = self._store.pieces(self._key) if self._written else []
            self._whole = b"".join((*self._fetch(pieces), self._rest))
            if hashlib.sha256(self._whole).digest() != self._hash.digest():
                raise ServerUnreachableError(
                    f"scene {self._key[:12]}: what had come was dropped or added to elsewhere; begin it again"
                )
        return self._whole

    def commit(self) -> str:
        sha256 = self.sha256
        with self._free_when_full():
            self._store.bucket.put(payload_key(sha256), self.read())
        self._forget_pieces()
        self._end()
        return sha256

    def discard(self) -> None:
        self._forget_pieces()
        self._end()

    def close(self) -> None:
        try:
            if self._rest:
                self._write_rest()  # where another server has gone on, its piece stays
        except (StorageError, StorageFullError) as error:
            logger.warning("the end of a half-sent payload is lost, the vehicle sends it again: %s", error)
        self._end()

    def _forget_pieces(self) -> None:
        if not self._written:
            return
        try:
            self._store.drop_pieces(self._key)
        except StorageError as error:
            logger.warning("pieces of a payload stay until they expire: %s", error)

    @contextmanager
    def _free_when_full(self) -> Iterator[None]:
        try:
            yield
        except StorageFullError:
            self.discard()
            raise

    def _end(self) -> None:
        if self._is_open:
            self._store.let_go(self._key)
        self._is_open, self._rest, self._whole = False, bytearray(), None

    def _write_rest(self) -> bool:
        """Whether it is there now; it leaves the memory in any case, for after a failure nobody knows."""
        data, self._rest = bytes(self._rest), bytearray()
        if not self._store.bucket.put_new(piece_key(self._key, self._written), data):
            return False
        self._written += len(data)
        return True

    def _fetch(self, pieces: list[ListedObject]) -> Iterator[bytes]:
        for piece in pieces:
            data = self._store.bucket.get(piece.key)
            if data is None:  # dropped since it was listed, and so are those behind it
                return
            yield data


def payload_key(sha256: str) -> str:
    """Where the payload with this hash lies below the prefix."""
    check.sha256_hex("payload", "sha256", sha256)
    return f"payloads/{sha256}"


def piece_key(key: str, offset: int) -> str:
    """Where the piece that begins at `offset` lies below the prefix."""
    return f"partial/{key}/{offset:0{_OFFSET_DIGITS}d}"
