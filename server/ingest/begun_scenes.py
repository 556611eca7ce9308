"""The scenes that streams have begun: one owner for each, within the limits of its vehicle and of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from server.ingest.config import IngestConfig
from server.ingest.half_sent import HalfSent
from server.ingest.open_scene import OpenScene
from server.ingest.partials import PartialBounds
from server.ingest.quotas import VehicleQuotas
from server.ingest.rates import VehicleRates
from server.stores.store import PayloadStore
from shared_models.errors import UpcycleError

_T = TypeVar("_T")


class InThread(Protocol):
    """Runs blocking work off the event loop."""

    def __call__(self, work: Callable[[], _T], /) -> Awaitable[_T]: ...


class BegunScenes:
    """Lives in the event loop, but for `make_room`."""

    def __init__(
        self,
        store: PayloadStore,
        config: IngestConfig,
        quotas: VehicleQuotas,
        in_thread: InThread,
        clock_ns: Callable[[], int],
        clock_s: Callable[[], float],
    ) -> None:
        """`clock_ns` tells the age of half-sent payloads; `clock_s` never goes back."""
        self._store, self._quotas, self._in_thread = store, quotas, in_thread
        self._expiry_s, self._clock_s = config.partial_expiry_s, clock_s
        self._bounds, self._rates = PartialBounds(store, config, clock_ns), VehicleRates(config.limits)
        self.half_sent = HalfSent(config.limits.vehicle_half_sent_bytes, config.partial_count)
        self._open: dict[str, OpenScene] = {}
        self._is_sweep_due = False  # said to a scene that was refused: the next one sweeps

    @asynccontextmanager
    async def holding(self, scene: OpenScene) -> AsyncIterator[list[str]]:
        """Make `scene` the open one of its id; gives the half-sent scenes to drop first. Forgotten where that fails.

        Another stream that has it open loses it.

        Raises:
            ServerUnreachableError: too many scenes are coming in at once, or a limit of the vehicle is reached.
            StorageError: the disk does not answer.
        """
        previous = self._open.get(scene.scene_id)
        to_drop, is_sweep_due = self._admit(scene, previous)
        self._open[scene.scene_id] = scene
        self._count(scene)
        try:
            async with scene.lock:
                if previous is not None:
                    await self.let_go(previous)  # waits for what is being done to it
                if is_sweep_due:
                    await self.sweep()
                yield to_drop
        except BaseException:
            await scene.close()
            self.forget(scene)
            raise

    def make_room(self, scene: OpenScene, to_drop: list[str]) -> None:
        """Drop what `holding` gave; blocks.

        Raises:
            ServerUnreachableError: a quota of the vehicle is used up.
            StorageError, StorageFullError: the disk or the database does not answer.
        """
        vehicle_id = scene.manifest.vehicle_id
        self._quotas.check(vehicle_id, self.half_sent.opening_bytes(vehicle_id))
        for scene_id in to_drop:
            self._store.open_partial(scene_id).discard()

    async def let_go(self, scene: OpenScene) -> None:
        """Close a scene once nothing is being done to it; what came is kept."""
        async with scene.lock:
            await scene.close()

    def forget(self, scene: OpenScene) -> None:
        """No stream has this scene open any more, unless another one has taken it over."""
        self._uncount(scene)
        if self._open.get(scene.scene_id) is scene:
            del self._open[scene.scene_id]

    def give_back(self, scene: OpenScene, spared_bytes: int) -> None:
        """So many bytes of a scene that was just begun need not be sent."""
        self._rates.give_back(scene.manifest.vehicle_id, spared_bytes, scene.begun_s)

    async def sweep(self) -> int:
        """Drop half-sent payloads that have expired or exceed the limits; returns how many.

        Raises:
            StorageError: the disk does not answer.
        """
        self.half_sent.expire(self._clock_s() - self._expiry_s)
        return await self._in_thread(self._bounds.sweep)

    def _admit(self, scene: OpenScene, previous: OpenScene | None) -> tuple[list[str], bool]:
        """Half-sent scenes to drop first, and whether a sweep is due; raises where a limit is reached."""
        manifest, counts = scene.manifest, self.half_sent
        self._rates.take(manifest.vehicle_id, manifest.payload_bytes, scene.begun_s)
        was_counted = previous is not None and self._uncount(previous)
        try:
            self._is_sweep_due |= self._bounds.admit(manifest, counts.open_scenes, counts.open_bytes)
            to_drop = counts.admit(manifest)
        except UpcycleError:
            if previous is not None and was_counted:  # it stays open
                self._count(previous)
            raise
        is_sweep_due, self._is_sweep_due = self._is_sweep_due, False
        return to_drop, is_sweep_due

    def _count(self, scene: OpenScene) -> None:
        self.half_sent.open(scene.manifest)
        scene.is_counted = True

    def _uncount(self, scene: OpenScene) -> bool:
        """Whether it was counted."""
        if not scene.is_counted:
            return False
        scene.is_counted = False
        self.half_sent.close(scene.manifest, scene.held_bytes, self._clock_s())
        return True
