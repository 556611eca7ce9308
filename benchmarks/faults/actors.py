"""The processes that are killed: a server and a vehicle, complete, with journals of what they did."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults.journal import Journal
from benchmarks.faults.payloads import Payloads
from benchmarks.faults.serving import make_policy, open_handed
from protos.policy import VehicleIdentity
from server.ingest.completion import Acknowledged
from server.ingest.intake import Intake
from server.ingest.open_scene import OpenScene
from server.ingest.server import IngestServer, Listen, serve_until_signalled
from server.repositories.archive import sole_writer
from server.repositories.repository import SceneCatalogue, StoredScene
from shared_models.records import EncodedScene, SceneManifest
from vehicle_client.bandwidth import Wait
from vehicle_client.outbox import Outbox
from vehicle_client.scene_queue import NoLimit
from vehicle_client.uploader import Uploader, UploaderConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerArguments:
    """A server on `data` that listens on `port`.

    chunk_bytes: its limit, and so the size of chunks. clock_ahead_s: how wrong its clock is.
    config: fields of IngestConfig that differ.
    """

    data: str
    port: int
    journal: str
    backbone_hash: str
    chunk_bytes: int
    clock_ahead_s: float
    config: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleArguments:
    """A vehicle that makes scenes while it sends them, until `stop_file` is there.

    ahead: scenes that wait in its outbox at most. stall_s: as in UploaderConfig.
    """

    spool: str
    port: int
    journal: str
    payloads: str
    stop_file: str
    vehicle_id: str
    in_flight: int
    ahead: int
    stall_s: float


class JournallingIntake(Intake):
    """Writes down where each scene begins, and each chunk that came in, before anything else is done with it."""

    journal: Journal

    async def begin(self, manifest: SceneManifest, data: bytes = b"") -> OpenScene | StoredScene:
        found = await super().begin(manifest, data)
        if isinstance(found, OpenScene):
            self.journal.write("begin", found.scene_id, found.found_bytes)
            if found.held().size > found.found_bytes:
                self.journal.write("chunk", found.scene_id, 0, len(data))
        else:
            self.journal.write("known", manifest.scene_id)
        return found

    async def take_whole(self, manifest: SceneManifest, payload: bytes) -> Acknowledged:
        self.journal.write("begin", manifest.scene_id, 0)
        self.journal.write("chunk", manifest.scene_id, 0, len(payload))
        return await super().take_whole(manifest, payload)

    async def add_chunk(self, scene: OpenScene, offset: int, data: bytes) -> None:
        self.journal.write("chunk", scene.scene_id, offset, len(data))
        await super().add_chunk(scene, offset, data)


class JournallingCatalogue:
    """The catalogue, with every row on record once it is there, whether or not anybody waits for it any more."""

    def __init__(self, catalogue: SceneCatalogue, journal: Journal) -> None:
        self._catalogue, self._journal = catalogue, journal

    def add(self, *given: Any, **named: Any) -> StoredScene:
        stored = self._catalogue.add(*given, **named)
        self._journal.write("stored", stored.scene_id)
        return stored

    def add_many(self, scenes: Sequence[StoredScene]) -> Sequence[Any]:
        outcomes = self._catalogue.add_many(scenes)
        for each in outcomes:
            if isinstance(each, StoredScene):
                self._journal.write("stored", each.scene_id)
        return outcomes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalogue, name)


class JournallingQueue:
    """The outbox, with every acknowledgement on record before the scene is forgotten."""

    def __init__(self, outbox: Outbox, journal: Journal) -> None:
        self._outbox, self._journal = outbox, journal
        self.has_room = threading.Event()

    def next_pending(self, exclude: frozenset[str] = frozenset()) -> SceneManifest | None:
        return self._outbox.next_pending(exclude)

    def load(self, scene_id: str) -> EncodedScene:
        self._journal.write("load", scene_id)
        return self._outbox.load(scene_id)

    def mark_delivered(self, scene_id: str) -> bool:
        self._journal.write("ack", scene_id)
        is_new = self._outbox.mark_delivered(scene_id)
        self.has_room.set()
        return is_new

    def mark_dead(self, scene_id: str, reason: str) -> bool:
        self._journal.write("dead", scene_id, reason.replace(" ", "_"))
        return self._outbox.mark_dead(scene_id, reason)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        return self._outbox.subscribe(listener)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)  # what a newer uploader asks for besides


class JournallingGate(NoLimit):
    """Lets everything go, and writes down the size of each chunk that is about to."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def ask(self, size: int) -> Wait | None:
        self._journal.write("sent", size)
        return None


def run_server(given: dict[str, Any]) -> None:
    """Serve until SIGTERM."""
    asyncio.run(_serve(ServerArguments(**given)))


async def _serve(arguments: ServerArguments) -> None:
    logging.disable(logging.WARNING)
    policy = make_policy(arguments.backbone_hash, arguments.chunk_bytes)
    journal = Journal(Path(arguments.journal))
    ahead_ns = int(arguments.clock_ahead_s * 1e9)
    with sole_writer(Path(arguments.data)):
        handed = open_handed(Path(arguments.data), arguments.config)
        handed["catalogue"] = JournallingCatalogue(handed["catalogue"], journal)
        intake = JournallingIntake(policy, **handed, clock_ns=lambda: time.time_ns() + ahead_ns)
        intake.journal = journal
        server = IngestServer(intake, Listen(port=arguments.port))
        journal.write("start", arguments.clock_ahead_s, intake.config.partial_expiry_s)
        await serve_until_signalled(server, lambda port: journal.write("listen", port))


def run_vehicle(given: dict[str, Any]) -> None:
    """Make scenes and send them until told to stop, then send the rest."""
    arguments = VehicleArguments(**given)
    logging.disable(logging.WARNING)
    payloads, journal = Payloads(Path(arguments.payloads)), Journal(Path(arguments.journal))
    identity = VehicleIdentity(vehicle_id=arguments.vehicle_id, backbone_hash=payloads.about["backbone_hash"])
    config = UploaderConfig(
        max_in_flight=arguments.in_flight, first_delay_s=0.005, max_delay_s=0.05, stall_s=arguments.stall_s,
        give_up_after_s=None, max_attempts=1000,
    )  # fmt: skip
    journal.write("start")
    with Outbox(Path(arguments.spool)) as outbox:
        queue = JournallingQueue(outbox, journal)
        # No seeded back-off: two restarts in a row must not wait alike.
        uploader = Uploader(
            f"127.0.0.1:{arguments.port}", identity, config, random_unit=random.SystemRandom().random,
            gate=JournallingGate(journal),
        )  # fmt: skip
        with uploader.in_background(queue) as background:
            while not Path(arguments.stop_file).exists():
                _put_next(outbox, queue, payloads, arguments)
                background.check()
            background.finish()
        counts = outbox.counts()
        journal.write("done", _made(outbox), counts.pending, counts.dead)


def _put_next(outbox: Outbox, queue: JournallingQueue, payloads: Payloads, arguments: VehicleArguments) -> None:
    if outbox.counts().pending < arguments.ahead:
        outbox.put(payloads.scene(_made(outbox), arguments.vehicle_id))
        return
    queue.has_room.wait(0.1)
    queue.has_room.clear()


def _made(outbox: Outbox) -> int:
    """How many scenes were put since the outbox was made: only the outbox itself knows after a `kill -9`."""
    counts = outbox.counts()
    return counts.pending + counts.delivered + counts.dead + counts.evicted


ACTORS: dict[str, Callable[[dict[str, Any]], None]] = {"server": run_server, "vehicle": run_vehicle}
"""Name of each actor and what it does until it ends or is killed."""
