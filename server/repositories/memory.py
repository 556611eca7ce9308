"""A catalogue in memory, for tests and trials: gone when the process ends."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import fields

from server.repositories.repository import (
    CatalogueCounts,
    SceneCatalogue,
    SceneFilter,
    StoredScene,
    VehicleSummary,
    merge_summaries,
)
from shared_models.records import SceneManifest


class MemorySceneCatalogue(SceneCatalogue):
    """Scenes in a dict, which keeps their order."""

    def __init__(self) -> None:
        self._scenes: dict[str, StoredScene] = {}
        self._lock = threading.Lock()

    def add(self, manifest: SceneManifest, stored_at_ns: int, scene_id: str | None = None) -> StoredScene:
        made = StoredScene(manifest=manifest, stored_at_ns=stored_at_ns, scene_id=scene_id or manifest.scene_id)
        with self._lock:
            return self._scenes.setdefault(made.scene_id, made)

    def find(self, scene_ids: Iterable[str]) -> dict[str, StoredScene]:
        with self._lock:
            return {s: self._scenes[s] for s in scene_ids if s in self._scenes}

    def starting_with(self, prefix: str, limit: int) -> list[StoredScene]:
        with self._lock:
            return [scene for scene_id, scene in self._scenes.items() if scene_id.startswith(prefix)][:limit]

    def scenes(self, where: SceneFilter | None = None) -> Iterator[StoredScene]:
        with self._lock:
            found = list(self._scenes.values())
        return (scene for scene in found if _fits(scene.manifest, where or SceneFilter()))

    def has_payload(self, payload_sha256: str) -> bool:
        with self._lock:
            return any(scene.manifest.payload_sha256 == payload_sha256 for scene in self._scenes.values())

    def newest(self, limit: int, offset: int = 0, where: SceneFilter | None = None) -> list[StoredScene]:
        return list(self.scenes(where))[::-1][offset : offset + limit]

    def counts(self, where: SceneFilter | None = None) -> CatalogueCounts:
        sizes = [scene.manifest.payload_bytes for scene in self.scenes(where)]
        return CatalogueCounts(scenes=len(sizes), payload_bytes=sum(sizes))

    def vehicles(self) -> list[VehicleSummary]:
        return merge_summaries(_summary(scene) for scene in self.scenes())

    def close(self) -> None:
        pass


def _fits(manifest: SceneManifest, where: SceneFilter) -> bool:
    wanted = {each.name: getattr(where, each.name) for each in fields(where)}
    return all(value is None or getattr(manifest, name) == value for name, value in wanted.items())


def _summary(scene: StoredScene) -> VehicleSummary:
    return VehicleSummary(
        vehicle_id=scene.manifest.vehicle_id,
        scenes=1,
        payload_bytes=scene.manifest.payload_bytes,
        last_stored_at_ns=scene.stored_at_ns,
        codecs=(scene.manifest.codec,),
        backbone_hashes=(scene.manifest.backbone_hash,),
    )
