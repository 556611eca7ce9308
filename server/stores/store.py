"""What a payload store does: keep immutable bytes under their SHA-256, and half-sent ones under their scene's id."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from shared_models.errors import UpcycleError


class PartialPayload(ABC):
    """A payload that is still coming in. Used by one stream at a time; its calls block on the disk."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes held so far: the offset at which the next chunk belongs."""

    @abstractmethod
    def append(self, data: bytes) -> None:
        """Add `data` at the end.

        Raises:
            StorageFullError: no space; the partial is gone, its space is free again.
            StorageError: it cannot be written; what is left of the partial, `open_partial` tells.
            ServerUnreachableError: another server adds to it.
        """

    @abstractmethod
    def read(self) -> bytes:
        """All bytes held so far.

        Raises:
            StorageError: they cannot be read.
            ServerUnreachableError: another server has added to it or dropped it.
        """

    @abstractmethod
    def commit(self) -> str:
        """Make the payload durable under its SHA-256, which is returned (hex); the partial is gone.

        Raises:
            StorageFullError: no space; the partial is gone.
            StorageError: it could not be made durable; what is left of the partial, `open_partial` tells.
            ServerUnreachableError: another server has added to it or dropped it.
        """

    @property
    @abstractmethod
    def sha256(self) -> str:
        """SHA-256 (hex) of the bytes held so far."""

    @abstractmethod
    def discard(self) -> None:
        """Forget it."""

    @abstractmethod
    def close(self) -> None:
        """Stop using it; what is held stays for a later `open_partial`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPayload:
    """A payload that is at hand as a whole. key: as of `open_partial`. sha256: the payload's, checked."""

    key: str
    payload: bytes
    sha256: str


class PayloadStore(ABC):
    """Payloads by SHA-256. Safe to use from several threads; a partial belongs to one user at a time."""

    puts_together: ClassVar[int] = 1
    """So many payloads are put well at once; 1: each by itself, in a thread of its own."""

    def recover(self) -> None:
        """Look after what a crash has left, before a server takes anything in; happens by itself otherwise.

        Raises:
            StorageFullError, StorageError: the store cannot be used.
        """
        return None

    @abstractmethod
    def open_partial(self, key: str) -> PartialPayload:
        """The half-sent payload under `key` (a scene id), empty where there is none.

        Raises:
            StorageFullError, StorageError: it cannot be opened.
        """

    def put_together(self, new: Sequence[NewPayload]) -> list[UpcycleError | None]:
        """Make payloads durable; of each what went wrong (StorageError and the like), None where nothing did.

        What was half-sent under their keys is gone then.
        """
        return [self._put(each) for each in new]

    def _put(self, new: NewPayload) -> UpcycleError | None:
        try:
            partial = self.open_partial(new.key)
            try:
                if partial.size:
                    partial.discard()
                    partial = self.open_partial(new.key)
                partial.append(new.payload)
                partial.commit()
            finally:
                partial.close()
        except UpcycleError as error:
            return error
        return None

    @abstractmethod
    def partial_bytes(self, key: str) -> int:
        """Bytes held of the half-sent payload under `key`; 0 where there is none."""

    @abstractmethod
    def drop_partials(
        self, older_than_s: float, now_s: float, keep_bytes: int | None = None, keep_count: int | None = None
    ) -> int:
        """Forget half-sent payloads that nobody has added to for `older_than_s`; returns how many.

        Those added to longest ago go too while all together hold more than `keep_bytes` or are more than `keep_count`.
        Opened ones that are not closed yet stay, but count.
        """

    @abstractmethod
    def read(self, sha256: str) -> bytes:
        """The payload, checked against its hash.

        Raises:
            NotFoundError: it is not here.
            StorageError: it is damaged or cannot be read; the message names it.
        """

    @abstractmethod
    def has(self, sha256: str) -> bool:
        """Whether a payload with this hash is here."""

    @abstractmethod
    def remove(self, sha256: str) -> None:
        """Forget a payload; nothing happens where there is none.

        Raises:
            StorageError: it cannot be removed.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of connections, where there are any."""

    @abstractmethod
    def hold(self, sha256: str, is_alone: bool = False) -> AbstractContextManager[None]:
        """Hold a payload, there already or not, against being removed in between; other processes are held off, too.

        Whoever commits a payload and adds a scene that refers to it holds it meanwhile, together with others who do so.
        is_alone: for removing it: waits until nobody else holds it, and nobody else can until the block ends.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPartial:
    """A half-sent payload as the choice of those to drop sees it."""

    key: str
    size: int
    changed_s: float


def to_drop(
    held: Iterable[HeldPartial],
    in_use: Container[str],
    older_than_s: float,
    now_s: float,
    keep_bytes: int | None,
    keep_count: int | None,
) -> list[str]:
    """Keys that `PayloadStore.drop_partials` forgets, oldest first."""
    by_age = sorted(held, key=lambda each: each.changed_s)
    count, size = len(by_age), sum(each.size for each in by_age)
    chosen = []
    for each in by_age:
        is_crowded = (keep_bytes is not None and size > keep_bytes) or (keep_count is not None and count > keep_count)
        if each.key not in in_use and (is_crowded or now_s - each.changed_s > older_than_s):
            chosen.append(each.key)
            count, size = count - 1, size - each.size
    return chosen
