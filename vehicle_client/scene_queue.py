"""What the uploader needs of the outbox and of the bandwidth."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from protos.report import VehicleReport
from shared_models.records import EncodedScene, SceneManifest
from vehicle_client.link import SMALL_CHUNK_BYTES

if TYPE_CHECKING:
    from vehicle_client.bandwidth import Wait


class SceneQueue(Protocol):
    """What the uploader needs of the outbox."""

    def next_pending(self, exclude: frozenset[str] = ...) -> SceneManifest | None:
        """The scene to send next, leaving out the ids in `exclude`."""

    def note_begun(self, scene_id: str) -> bool:
        """A server is about to be asked for a scene; False where an earlier process may have done so already."""

    def load(self, scene_id: str) -> EncodedScene:
        """That scene with its payload; IntegrityError where it is damaged, NotFoundError where it is gone."""

    def mark_delivered(self, scene_id: str) -> bool:
        """The server has it."""

    def mark_dead(self, scene_id: str, reason: str) -> bool:
        """The server will never take it."""

    def report(self) -> VehicleReport:
        """What waits, and what became of the others."""

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each new scene; returns what ends that."""


class SendingGate(Protocol):
    """What the uploader needs of the bandwidth."""

    def chunk_bytes(self) -> int:
        """How much should go at once on the present link; the server may take less."""

    def ask(self, size: int) -> Wait | None:
        """Whether a chunk of so many bytes may go now; None: yes, and it counts as sent."""

    def closed(self) -> Wait | None:
        """Why nothing can go for a long time; None where a chunk may be asked for."""


class NoLimit(SendingGate):
    """Everything may go at once, over a link of which nothing is known."""

    def chunk_bytes(self) -> int:
        return SMALL_CHUNK_BYTES

    def ask(self, size: int) -> Wait | None:
        return None

    def closed(self) -> Wait | None:
        return None
