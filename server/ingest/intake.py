"""Takes scenes into store and catalogue: one owner per scene, blocking work in threads, durable before answered."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from protos.policy import Policy
from protos.report import VehicleReport
from server.ingest.begun_scenes import BegunScenes
from server.ingest.call_log import CallLog
from server.ingest.completion import Acknowledged, Completion
from server.ingest.config import IngestConfig
from server.ingest.header import HeaderCheck, PayloadCheck
from server.ingest.metrics import REPORTED, IngestMetrics
from server.ingest.open_scene import OpenScene
from server.ingest.quotas import VehicleQuotas
from server.ingest.refusals import stopping
from server.ingest.reports import VehicleReports
from server.ingest.watchdog import Watchdog
from server.ingest.whole_scenes import Arrival, WholeScenes
from server.repositories.pseudonym import Pseudonyms, vehicle_tag
from server.repositories.repository import SceneCatalogue, StoredScene
from server.stores.store import PayloadStore
from shared_models.errors import ProtocolError, UpcycleError
from shared_models.records import SceneManifest

logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class Intake:
    """The way of a scene from its begin to the catalogue; shared by all streams of a server."""

    def __init__(
        self,
        policy: Policy,
        store: PayloadStore,
        catalogue: SceneCatalogue,
        config: IngestConfig | None = None,
        check_payload: PayloadCheck | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        pseudonyms: Pseudonyms | None = None,
        metrics: IngestMetrics | None = None,
        folder: Path | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """pseudonyms: what vehicles are called in the catalogue and in the log; None stores their plain ids.

        folder: where the payloads lie, to be watched for free space; None: nothing to watch.
        clock_s: a steady clock, for rates and durations.
        """
        self._pseudonyms = pseudonyms
        self.policy, self.config = policy, config or IngestConfig()
        self._store, self._catalogue = store, catalogue
        self._clock_ns = clock_ns
        self._threads = ThreadPoolExecutor(self.config.disk_threads, thread_name_prefix="ingest-disk")
        # Of their own: they wait for disk syncs, which chunks of other scenes should not have to wait for.
        self._finishers = ThreadPoolExecutor(self.config.finishing_at_once, thread_name_prefix="ingest-finish")
        self.calls = CallLog(catalogue.log, self.in_thread, self.tag, clock_ns)
        limits, self._clock_s = self.config.limits, clock_s
        self.metrics = metrics or IngestMetrics()
        self.reports = VehicleReports(limits.vehicles_remembered, self.tag)
        self.watchdog = Watchdog(self.config.watchdog, store, catalogue, self.metrics, folder, clock_s)
        quotas = VehicleQuotas(limits, catalogue, pseudonyms, clock_ns)
        self._begun = BegunScenes(store, self.config, quotas, self.in_thread, clock_ns, clock_s)
        check = check_payload or HeaderCheck(policy)
        self._completion = Completion(store, catalogue, check, quotas, pseudonyms, clock_ns)
        self._wholes = WholeScenes(store, self._completion, self._finishers, self.config.finishing_at_once)
        self._is_stopping = False
        self._export()

    async def begin(self, manifest: SceneManifest, data: bytes = b"") -> OpenScene | StoredScene:
        """Open a scene, or return it where it is stored already.

        A scene that another stream has open is taken over: that stream may be a dead connection of the same vehicle.
        data: its first bytes, checked; they are left where some are held already.

        Raises:
            SenderError: the policy refuses it.
            ServerUnreachableError: too many scenes are coming in at once, or a limit of the vehicle is reached.
            StorageError, StorageFullError: nothing can be stored now.
        """
        scene = self._new(manifest)
        async with self._begun.holding(scene) as to_drop:
            stored = await self.in_thread(lambda: self._look_or_open(scene, to_drop, data))
        spared = manifest.payload_bytes if stored is not None else scene.found_bytes
        self._begun.give_back(scene, spared)
        if stored is not None:
            self.metrics.scenes_already_stored.inc()
            self._begun.forget(scene)
        elif scene.held().size > scene.found_bytes:
            self.metrics.chunk_bytes.inc(len(data))
        return stored or scene

    async def take_whole(self, manifest: SceneManifest, payload: bytes) -> Acknowledged:
        """Take in a scene that came in one message, durably. What was half-sent of it is dropped.

        Raises:
            As `begin` and `finish`.
        """
        scene = self._new(manifest)
        self.metrics.chunk_bytes.inc(len(payload))

        def note(taken: Acknowledged) -> None:
            if taken.was_already_stored:
                self._begun.give_back(scene, manifest.payload_bytes)
                self.metrics.scenes_already_stored.inc()
            else:
                self._note_stored(scene, scene.begun_s)

        async with self._begun.holding(scene) as to_drop:
            room = functools.partial(self._begun.make_room, scene, to_drop)
            arrival = Arrival(scene_id=scene.scene_id, manifest=manifest, payload=payload, make_room=room)
            taken = await _noted(self._wholes.add(arrival), note)
        self._begun.forget(scene)
        return taken

    async def add_chunk(self, scene: OpenScene, offset: int, data: bytes) -> None:
        """Append checked chunk data at `offset`.

        Raises:
            ProtocolError: not the next chunk, or beyond the declared end.
            StorageError, StorageFullError: it cannot be written.
        """
        async with scene.lock:
            await scene.add(offset, data)
        self.metrics.chunk_bytes.inc(len(data))

    async def finish(self, scene: OpenScene) -> StoredScene:
        """Check the payload and make the scene durable; it is closed afterwards, whatever comes of it.

        Raises:
            ProtocolError: incomplete (what came is kept for a retry).
            SenderError: hash or header do not fit the manifest (what came is dropped).
            StorageError, StorageFullError: it cannot be made durable.
        """
        asked_s = self._clock_s()
        async with scene.lock:
            try:
                partial, rest = scene.take()
                given = scene.scene_id, scene.manifest, partial, rest
                work = self.in_thread(functools.partial(self._completion.complete, *given), self._finishers)
                return await _noted(work, lambda _: self._note_stored(scene, asked_s))
            except ProtocolError:
                scene.held_bytes = partial.size
                raise
            finally:
                self._begun.forget(scene)

    def _note_stored(self, scene: OpenScene, asked_s: float) -> None:
        manifest, metrics = scene.manifest, self.metrics
        metrics.scenes_stored.inc()
        metrics.payload_bytes.inc(manifest.payload_bytes)
        now_s = self._clock_s()
        metrics.acknowledge_s.observe(now_s - asked_s)
        metrics.scene_s.observe(now_s - scene.begun_s)
        if not logger.isEnabledFor(logging.INFO):
            return
        logger.info(
            "scene stored",
            extra={
                "scene": scene.scene_id[:12],
                "vehicle": self.tag(manifest.vehicle_id),
                "bytes": manifest.payload_bytes,
            },
        )

    async def release(self, scene: OpenScene) -> None:
        """Close a scene that will not be finished on its stream; what came is kept for a retry."""
        await self._begun.let_go(scene)
        self._begun.forget(scene)

    @property
    def is_crowded(self) -> bool:
        """Whether so much waits for the disk that no stream should send ahead."""
        return self._wholes.is_crowded

    def note_report(self, vehicle_id: str, report: VehicleReport) -> None:
        """A vehicle has told what became of the scenes in its spool."""
        self.reports.note(vehicle_id, report)

    def stop_taking(self) -> None:
        """The server stops: no scene is begun any more, open ones go on."""
        self._is_stopping = True

    async def look_up(self, scene_ids: list[str]) -> tuple[dict[str, StoredScene], dict[str, int]]:
        """Which of the scenes are stored, and how many bytes are held of the others."""

        def look() -> tuple[dict[str, StoredScene], dict[str, int]]:
            stored = self._catalogue.find(scene_ids)
            return stored, {s: self._store.partial_bytes(s) for s in scene_ids if s not in stored}

        return await self.in_thread(look)

    def tag(self, vehicle_id: str) -> str:
        """What the log calls a vehicle now."""
        if self._pseudonyms is None:
            return vehicle_tag(vehicle_id)
        return self._pseudonyms.tag(vehicle_id, self._clock_ns())

    def is_of(self, stored: StoredScene, vehicle_id: str) -> bool:
        """Whether a stored scene is this vehicle's."""
        name = stored.manifest.vehicle_id
        if self._pseudonyms is None:
            return name == vehicle_id
        return self._pseudonyms.is_of(name, vehicle_id, stored.stored_at_ns)

    async def sweep(self) -> int:
        """Drop half-sent payloads that have expired or exceed the limits; returns how many.

        Raises:
            StorageError: the disk does not answer.
        """
        return await self._begun.sweep()

    async def sweep_regularly(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Sweep until cancelled, at once and then every `partial_check_s`."""
        while True:
            try:
                await self.sweep()
                await self.in_thread(self._completion.placing.remove_left)
            except UpcycleError as error:
                logger.warning("half-sent payloads cannot be dropped: %s", error)
            await sleep(self.config.partial_check_s)

    async def in_thread(self, work: Callable[[], _T], threads: ThreadPoolExecutor | None = None) -> _T:
        """Run blocking `work` off the event loop; when cancelled, only after `work` has ended."""
        future = asyncio.get_running_loop().run_in_executor(threads or self._threads, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    def close(self) -> None:
        """Wait for work in threads and end them."""
        self._finishers.shutdown(wait=True)
        self._threads.shutdown(wait=True)

    def _new(self, manifest: SceneManifest) -> OpenScene:
        self.policy.check_manifest(manifest)
        if self._is_stopping:
            raise stopping()
        self.watchdog.check_space()
        return OpenScene(manifest, self._clock_s(), self.in_thread)

    def _look_or_open(self, scene: OpenScene, to_drop: list[str], data: bytes) -> StoredScene | None:
        stored = self._catalogue.known(scene.scene_id)
        if stored is not None:
            return stored
        self._begun.make_room(scene, to_drop)
        scene.partial = self._store.open_partial(scene.scene_id)
        if scene.partial.size > scene.manifest.payload_bytes:
            scene.partial.discard()
            scene.partial = self._store.open_partial(scene.scene_id)
        if not scene.partial.size and (left := self._completion.left_by_a_crash(scene.manifest)):
            scene.partial.append(left)
        scene.found_bytes = scene.partial.size
        if data and not scene.found_bytes:
            scene.partial.append(data)
        return None

    def _export(self) -> None:
        metrics, counts, reports = self.metrics, self._begun.half_sent, self.reports
        metrics.open_scenes.set_function(lambda: counts.open_scenes)
        metrics.half_sent_bytes.set_function(lambda: counts.open_bytes + counts.kept_bytes)
        metrics.reported_vehicles.set_function(reports.__len__)
        for name in REPORTED:
            metrics.reported[name].set_function(functools.partial(reports.sums.__getitem__, name))


async def _noted(work: Coroutine[Any, Any, _T], note: Callable[[_T], None]) -> _T:
    """The outcome of `work`, and noted where it has one; when cancelled, for the vehicle is gone, only after both."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: note(done.result()) if not done.cancelled() and not done.exception() else None)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
