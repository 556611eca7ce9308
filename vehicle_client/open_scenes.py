"""The scenes under way on one stream: whose turn it is, and for which of them the server owes an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from protos import convert
from protos.v1 import ingest_pb2 as pb
from shared_models.records import EncodedScene


@dataclass(slots=True)
class OpenScene:
    """One scene that was begun.

    chunks: what is still to be sent; None until the server says where to start.
    asked_s: since when the server owes the answer to begin or finish; None while it is this side's turn.
    """

    scene: EncodedScene
    asked_s: float | None
    chunks: Iterator[pb.Chunk] | None = None
    held: pb.Chunk | None = None  # made, and may not go yet

    def start(self, offset: int, chunk_bytes: int, is_last_told: bool = False) -> None:
        """The server names the byte from which on it wants the payload.

        is_last_told: the last chunk finishes the scene.

        Raises:
            ProtocolError: there is no such byte.
        """
        self.chunks = convert.chunks_of(self.scene, chunk_bytes, offset, is_last_told)
        self.asked_s = None

    def next_chunk(self) -> pb.Chunk | None:
        """What goes next; None where only the finish is left."""
        chunk, self.held = self.held or (None if self.chunks is None else next(self.chunks, None)), None
        return chunk


class OpenScenes:
    """Scenes by id, in the order in which they take turns. Guarded by the stream's lock; no clock of its own."""

    def __init__(self) -> None:
        self._scenes: dict[str, OpenScene] = {}

    def __len__(self) -> int:
        return len(self._scenes)

    def ids(self) -> frozenset[str]:
        """All that are under way."""
        return frozenset(self._scenes)

    @property
    def payload_bytes(self) -> int:
        """Of all that are under way: they are in memory."""
        return sum(len(each.scene.payload) for each in self._scenes.values())

    def get(self, scene_id: str) -> OpenScene | None:
        """One of them; None where it is not under way."""
        return self._scenes.get(scene_id)

    def begin(self, scene: EncodedScene, now_s: float) -> str:
        """The server is asked where to start; the scene's id."""
        scene_id = scene.manifest.scene_id
        self._scenes[scene_id] = OpenScene(scene=scene, asked_s=now_s)
        return scene_id

    def close(self, scene_id: str) -> None:
        """It is stored or refused."""
        del self._scenes[scene_id]

    def ready(self) -> list[tuple[str, OpenScene]]:
        """Those that may send, the one whose turn it is first."""
        return [(scene_id, each) for scene_id, each in self._scenes.items() if each.asked_s is None]

    def took_turn(self, scene_id: str) -> None:
        """It has sent a chunk: the others come first."""
        self._scenes[scene_id] = self._scenes.pop(scene_id)

    def is_owed(self) -> bool:
        """Whether the server owes an answer for any."""
        return any(each.asked_s is not None for each in self._scenes.values())

    def unanswered(self, before_s: float) -> list[str]:
        """Ids of those for which the server has owed an answer since before this time."""
        return [i for i, each in self._scenes.items() if each.asked_s is not None and each.asked_s < before_s]
