"""Takes scenes into store and catalogue: one owner per scene, blocking work in threads, durable before answered."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from protos.policy import Policy
from server.ingest.config import IngestConfig
from server.ingest.header import HeaderCheck, PayloadCheck
from server.ingest.partials import PartialBounds
from server.ingest.placing import Placing
from server.repositories.pseudonym import Pseudonyms, vehicle_tag
from server.repositories.repository import SceneCatalogue, StoredScene
from server.stores.store import PartialPayload, PayloadStore
from shared_models.errors import IntegrityError, ProtocolError, SenderError, ServerUnreachableError, UpcycleError
from shared_models.records import SceneManifest

logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class OpenScene:
    """A scene that one stream is sending. `lock` is held while anything happens to it."""

    def __init__(self, manifest: SceneManifest) -> None:
        self.manifest = manifest
        self.lock = asyncio.Lock()
        self.partial: PartialPayload | None = None

    @property
    def scene_id(self) -> str:
        """As in the manifest."""
        return self.manifest.scene_id

    def held(self) -> PartialPayload:
        """What has come in.

        Raises:
            ServerUnreachableError: another stream has begun this scene since, or the store gave it up.
        """
        if self.partial is None:
            raise ServerUnreachableError(f"scene {self.scene_id[:12]} is being sent on another stream; begin it again")
        return self.partial


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
    ) -> None:
        """pseudonyms: what vehicles are called in the catalogue and in the log; None stores their plain ids."""
        self._pseudonyms = pseudonyms
        self.policy, self.config = policy, config or IngestConfig()
        self._store, self._catalogue = store, catalogue
        self._check_payload, self._clock_ns = check_payload or HeaderCheck(policy.limits), clock_ns
        self._threads = ThreadPoolExecutor(self.config.disk_threads, thread_name_prefix="ingest-disk")
        self._finishing = asyncio.Semaphore(self.config.finishing_at_once)
        self._open: dict[str, OpenScene] = {}
        self._placing = Placing(store, catalogue)
        self._bounds = PartialBounds(store, self.config, clock_ns)

    async def begin(self, manifest: SceneManifest) -> OpenScene | StoredScene:
        """Open a scene, or return it where it is stored already.

        A scene that another stream has open is taken over: that stream may be a dead connection of the same vehicle.

        Raises:
            SenderError: the policy refuses it.
            ServerUnreachableError: too many scenes are coming in at once.
            StorageError, StorageFullError: nothing can be stored now.
        """
        self.policy.check_manifest(manifest)
        scene = OpenScene(manifest)
        others = [other.manifest for scene_id, other in self._open.items() if scene_id != scene.scene_id]
        is_sweep_due = self._bounds.admit(manifest, others)
        previous = self._open.get(scene.scene_id)
        self._open[scene.scene_id] = scene
        try:
            async with scene.lock:
                if previous is not None:
                    await self._let_go(previous)  # waits for what is being done to it
                if is_sweep_due:
                    await self.sweep()
                stored = await self.in_thread(lambda: self._look_or_open(scene))
        except BaseException:
            await self._close_partial(scene)
            self._forget(scene)
            raise
        if stored is not None:
            self._forget(scene)
        return stored or scene

    async def add_chunk(self, scene: OpenScene, offset: int, data: bytes) -> None:
        """Append checked chunk data at `offset`.

        Raises:
            ProtocolError: not the next chunk, or beyond the declared end.
            StorageError, StorageFullError: it cannot be written.
        """
        async with scene.lock:
            partial = scene.held()
            if offset != partial.size:
                raise ProtocolError(f"chunk at {offset}: expected the one at {partial.size}; begin the scene again")
            if offset + len(data) > scene.manifest.payload_bytes:
                raise ProtocolError(
                    f"chunk at {offset}: ends at {offset + len(data)}, the manifest says {scene.manifest.payload_bytes}"
                )
            await self.in_thread(lambda: partial.append(data))

    async def finish(self, scene: OpenScene) -> StoredScene:
        """Check the payload and make the scene durable; it is closed afterwards, whatever comes of it.

        Raises:
            ProtocolError: incomplete (what came is kept for a retry).
            SenderError: hash or header do not fit the manifest (what came is dropped).
            StorageError, StorageFullError: it cannot be made durable.
        """
        async with self._finishing, scene.lock:
            try:
                partial = scene.held()
                stored = await self.in_thread(lambda: self._complete(scene.manifest, partial))
            finally:
                await self._close_partial(scene)
                self._forget(scene)
        manifest = scene.manifest
        logger.info(
            "scene stored",
            extra={
                "scene": scene.scene_id[:12],
                "vehicle": self.tag(manifest.vehicle_id),
                "bytes": manifest.payload_bytes,
            },
        )
        return stored

    async def release(self, scene: OpenScene) -> None:
        """Close a scene that will not be finished on its stream; what came is kept for a retry."""
        await self._let_go(scene)
        self._forget(scene)

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
        return await self.in_thread(self._bounds.sweep)

    async def sweep_regularly(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Sweep until cancelled, at once and then every `partial_check_s`."""
        while True:
            try:
                await self.sweep()
            except UpcycleError as error:
                logger.warning("half-sent payloads cannot be dropped: %s", error)
            await sleep(self.config.partial_check_s)

    async def in_thread(self, work: Callable[[], _T]) -> _T:
        """Run blocking `work` off the event loop; when cancelled, only after `work` has ended."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    def close(self) -> None:
        """Wait for work in threads and end them."""
        self._threads.shutdown(wait=True)

    def _look_or_open(self, scene: OpenScene) -> StoredScene | None:
        stored = self._catalogue.find([scene.scene_id]).get(scene.scene_id)
        if stored is None:
            scene.partial = self._store.open_partial(scene.scene_id)
            if scene.partial.size > scene.manifest.payload_bytes:
                scene.partial.discard()
                scene.partial = self._store.open_partial(scene.scene_id)
        return stored

    def _complete(self, manifest: SceneManifest, partial: PartialPayload) -> StoredScene:
        if partial.size != manifest.payload_bytes:
            raise ProtocolError(
                f"frame {manifest.frame_id}: finished after {partial.size} of {manifest.payload_bytes} bytes; "
                "begin it again and go on there"
            )
        try:
            self._check_content(manifest, partial)
        except SenderError:
            partial.discard()
            raise
        with self._placing.of(manifest.payload_sha256):
            partial.commit()
            now_ns = self._clock_ns()
            if self._pseudonyms is None:
                return self._catalogue.add(manifest, now_ns)
            stored_name = self._pseudonyms.stored_name(manifest.vehicle_id, now_ns)
            return self._catalogue.add(replace(manifest, vehicle_id=stored_name), now_ns, manifest.scene_id)

    def _check_content(self, manifest: SceneManifest, partial: PartialPayload) -> None:
        if partial.sha256 != manifest.payload_sha256:
            raise IntegrityError(
                f"frame {manifest.frame_id}: SHA-256 {manifest.payload_sha256[:12]} declared, {partial.sha256[:12]} "
                "received; send it again from the start"
            )
        self._check_payload(manifest, partial.read())

    def _forget(self, scene: OpenScene) -> None:
        if self._open.get(scene.scene_id) is scene:
            del self._open[scene.scene_id]

    async def _let_go(self, scene: OpenScene) -> None:
        async with scene.lock:
            await self._close_partial(scene)

    async def _close_partial(self, scene: OpenScene) -> None:
        partial, scene.partial = scene.partial, None
        if partial is not None:
            await self.in_thread(partial.close)
