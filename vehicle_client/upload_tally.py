"""What an uploader has done: counted over all of its streams, and as its report."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from shared_models.errors import UpcycleError

KEPT_REFUSALS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A scene that was given up: dead-lettered, never blocking others."""

    scene_id: str
    frame_id: str
    error: UpcycleError


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadReport:
    """What an uploader did.

    stored: scenes that this uploader sent and the server stored.
    already_stored: scenes that the server had, so that nothing was sent.
    refusals: scenes given up, the latest of them; refused: how many in all.
    payload_bytes, chunks: sent, repetitions included.
    streams: connections that were used, 1 where nothing went wrong.
    """

    stored: int
    already_stored: int
    refusals: tuple[Refusal, ...]
    payload_bytes: int
    chunks: int
    streams: int
    refused: int = 0


class Tally:
    """What an uploader has done so far; counts over all of its streams. Of the refusals the latest are kept."""

    def __init__(self) -> None:
        self.stored = self.already_stored = self.refused = self.chunks = self.payload_bytes = self.streams = 0
        self.refusals: deque[Refusal] = deque(maxlen=KEPT_REFUSALS)
        self.attempts: dict[str, int] = {}  # refusals so far of scenes that will be tried again
        self.offsets: dict[str, int] = {}  # where the server went on with scenes that are not stored yet
        self.new_begins = 0  # scenes begun for the first time since the server last had one already
        self.begun: set[str] = set()  # scenes of which a server may hold something
        self.unanswered: set[str] = set()  # scenes for which an answer never came: others go before them
        self.progress = 0  # grows whenever the server has got further

    def asked(self, scene_id: str) -> None:
        """A scene is begun."""
        self.new_begins += scene_id not in self.begun
        self.begun.add(scene_id)

    def started(self, scene_id: str, offset: int) -> None:
        """The server goes on with a scene at this byte."""
        self.progress += offset > self.offsets.get(scene_id, 0)
        self.offsets[scene_id] = offset

    def sent(self, size: int) -> None:
        """A chunk of so many bytes."""
        self.chunks += 1
        self.payload_bytes += size

    def arrived(self, scene_id: str, was_already_stored: bool) -> None:
        """The server has a scene."""
        self.already_stored += was_already_stored
        if was_already_stored:
            self.new_begins = 0
        self.stored += not was_already_stored
        self._settle(scene_id)

    def given_up(self, refusal: Refusal) -> None:
        """The server will never take a scene."""
        self.refused += 1
        self.refusals.append(refusal)
        self._settle(refusal.scene_id)

    def tried(self, scene_id: str) -> int:
        """A scene came to the server damaged; how often that has happened to it."""
        self.attempts[scene_id] = self.attempts.get(scene_id, 0) + 1
        return self.attempts[scene_id]

    def report(self) -> UploadReport:
        """All of it."""
        return UploadReport(
            stored=self.stored,
            already_stored=self.already_stored,
            refusals=tuple(self.refusals),
            payload_bytes=self.payload_bytes,
            chunks=self.chunks,
            streams=self.streams,
            refused=self.refused,
        )

    def _settle(self, scene_id: str) -> None:
        self.progress += 1
        self.attempts.pop(scene_id, None)
        self.offsets.pop(scene_id, None)
        self.begun.discard(scene_id)
        self.unanswered.discard(scene_id)
