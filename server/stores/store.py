"""What a payload store does: keep immutable bytes under their SHA-256, and half-sent ones under their scene's id."""

from __future__ import annotations

from abc import ABC, abstractmethod


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
            StorageError: it cannot be written; the partial is gone.
        """

    @abstractmethod
    def read(self) -> bytes:
        """All bytes held so far.

        Raises:
            StorageError: they cannot be read.
        """

    @abstractmethod
    def commit(self) -> str:
        """Make the payload durable under its SHA-256, which is returned (hex); the partial is gone.

        Raises:
            StorageFullError, StorageError: it could not be made durable; the partial is gone.
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


class PayloadStore(ABC):
    """Payloads by SHA-256. Safe to use from several threads; a partial belongs to one user at a time."""

    @abstractmethod
    def open_partial(self, key: str) -> PartialPayload:
        """The half-sent payload under `key` (a scene id), empty where there is none.

        Raises:
            StorageFullError, StorageError: it cannot be opened.
        """

    @abstractmethod
    def partial_bytes(self, key: str) -> int:
        """Bytes held of the half-sent payload under `key`; 0 where there is none."""

    @abstractmethod
    def drop_partials(self, older_than_s: float, now_s: float) -> int:
        """Forget half-sent payloads that nobody has added to for `older_than_s`; returns how many."""

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
