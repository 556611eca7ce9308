"""Scenes that came in one message each, made durable several at a time.

Two steps, each with a thread of its own, so that some are hashed while others wait for the disk: *prepare* checks a
payload; *take* writes and syncs what has come meanwhile and commits the rows. Both syncs are in one thread on purpose:
in two they would wait for each other in the file system's journal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, field

from server.ingest.batches import Batches
from server.ingest.completion import Acknowledged, Completion, check_sha256
from server.repositories.repository import StoredScene
from server.stores.store import NewPayload, PayloadStore
from shared_models.errors import UpcycleError
from shared_models.records import SceneManifest

_CROWDED_BYTES = 64 << 20  # of payloads in memory, of all streams together


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A scene with its payload. make_room: called before anything is written; may refuse the scene."""

    scene_id: str
    manifest: SceneManifest
    payload: bytes
    make_room: Callable[[], None] = lambda: None


@dataclass(slots=True, kw_only=True)
class Prepared:
    """A sound scene, to be made durable. guard: what its header names.

    hold: ends the hold on its payload in the store; empty before it is placed.
    """

    scene_id: str
    manifest: SceneManifest
    new: NewPayload
    guard: str
    hold: ExitStack = field(default_factory=ExitStack)


class WholeScenes:
    """The way of such scenes; `add` lives in the event loop, the steps block and belong into threads."""

    def __init__(self, store: PayloadStore, completion: Completion, threads: Executor, at_once: int) -> None:
        """at_once: scenes in threads, where the store takes them one by one."""
        self._store, self._completion = store, completion
        self._waiting_bytes = 0
        size = store.puts_together
        self._preparing: Batches[Arrival, Prepared]
        self._preparing = Batches(self._prepare_all, threads, 1, 2 if size > 1 else at_once)
        self._taking: Batches[Prepared, Acknowledged] = Batches(self.take, threads, size, 1 if size > 1 else at_once)

    @property
    def is_crowded(self) -> bool:
        """Whether so much waits that no stream should send ahead."""
        return self._waiting_bytes >= _CROWDED_BYTES

    async def add(self, arrival: Arrival) -> Acknowledged:
        """Make a scene durable; when cancelled, only after that. Whether it was stored before shows at the end only.

        Raises:
            SenderError: hash or header do not fit the manifest, or it was deleted for good.
            ServerUnreachableError: its vehicle has no room. StorageError, StorageFullError: it cannot be made durable.
        """
        self._waiting_bytes += len(arrival.payload)
        try:
            return await self._taking.add(await self._preparing.add(arrival))
        finally:
            self._waiting_bytes -= len(arrival.payload)

    def prepare(self, arrival: Arrival) -> Prepared | UpcycleError:
        """Check a payload."""
        try:
            arrival.make_room()
            manifest = arrival.manifest
            check_sha256(manifest, hashlib.sha256(arrival.payload).hexdigest())
            guard = self._completion.check_payload(manifest, arrival.payload) or ""
            new = NewPayload(key=arrival.scene_id, payload=arrival.payload, sha256=manifest.payload_sha256)
        except UpcycleError as error:
            return error
        return Prepared(scene_id=arrival.scene_id, manifest=manifest, new=new, guard=guard)

    def take(self, scenes: Sequence[Prepared]) -> list[Acknowledged | UpcycleError]:
        """Make payloads and rows durable, one outcome for each; what is wrong with one harms none of the others."""
        outcomes = self._place(scenes)
        placed = [each for each in scenes if outcomes[each.scene_id] is None]
        try:
            rows = self._add_rows(placed)
            outcomes |= {each.scene_id: row for each, row in zip(placed, rows, strict=True)}
        finally:
            for each in scenes:  # all of them first: removing one's payload needs its folder alone
                each.hold.close()
            for each in scenes:
                has_failed = not isinstance(outcomes[each.scene_id], Acknowledged)
                self._completion.placing.leave(each.manifest.payload_sha256, has_failed)
        return [outcome for each in scenes if (outcome := outcomes[each.scene_id]) is not None]

    def _place(self, scenes: Sequence[Prepared]) -> dict[str, Acknowledged | UpcycleError | None]:
        """Make payloads durable, and hold them for their rows; what went wrong with each, by scene."""
        for each in scenes:
            self._completion.placing.enter(each.manifest.payload_sha256)
        outcomes: dict[str, Acknowledged | UpcycleError | None] = {each.scene_id: self._hold(each) for each in scenes}
        held = [each for each in scenes if outcomes[each.scene_id] is None]
        errors = self._store.put_together([each.new for each in held])
        return outcomes | {each.scene_id: error for each, error in zip(held, errors, strict=True)}

    def _add_rows(self, scenes: Sequence[Prepared]) -> list[Acknowledged | UpcycleError]:
        completion = self._completion
        made = [completion.row(each.scene_id, each.manifest, each.guard) for each in scenes]
        outcomes: list[Acknowledged | UpcycleError] = []
        for each, new, found in zip(scenes, made, completion.rows.add_all(made), strict=True):
            if found is new:
                completion.quotas.add(each.manifest.vehicle_id, each.manifest.payload_bytes)
            if isinstance(found, StoredScene):
                outcomes.append(Acknowledged(found, was_already_stored=found is not new))
            else:
                outcomes.append(found)
        return outcomes

    def _prepare_all(self, arrivals: Sequence[Arrival]) -> list[Prepared | UpcycleError]:
        return [self.prepare(each) for each in arrivals]

    def _hold(self, scene: Prepared) -> UpcycleError | None:
        try:  # against a deletion in another process
            scene.hold.enter_context(self._store.hold(scene.manifest.payload_sha256))
        except UpcycleError as error:
            return error
        return None
