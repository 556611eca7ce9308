"""A catalogue in memory, for tests and trials: gone when the process ends."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator

from server.repositories.memory_access_log import MemoryAccessLog
from server.repositories.removal import Removal
from server.repositories.repository import (
    CatalogueCounts,
    SceneCatalogue,
    SceneFilter,
    StoredScene,
    VehicleSummary,
    merge_summaries,
    new_scene,
    refused_again,
)
from server.repositories.scene_events import refusal_event, removal_events, upload_event
from shared_models.records import SceneManifest


class MemorySceneCatalogue(SceneCatalogue):
    """Scenes in a dict, which keeps their order."""

    def __init__(self) -> None:
        self.log = MemoryAccessLog()
        self._scenes: dict[str, StoredScene] = {}
        self._refused: set[str] = set()
        self._to_remove: set[str] = set()
        self._agreements: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(
        self,
        manifest: SceneManifest,
        stored_at_ns: int,
        scene_id: str | None = None,
        actor: str | None = None,
        guard: str = "",
    ) -> StoredScene:
        made = new_scene(manifest, stored_at_ns, scene_id, guard)
        with self._lock:
            if made.scene_id in self._refused:
                raise refused_again(made.scene_id)
            if made.scene_id not in self._scenes:
                self._scenes[made.scene_id] = made
                self.log.append([upload_event(made, actor)])
            return self._scenes[made.scene_id]

    def remove(self, scene_ids: Iterable[str], removal: Removal | None = None) -> list[StoredScene]:
        wanted, removal = frozenset(scene_ids), removal or Removal()
        with self._lock:
            removed = [scene for scene_id, scene in self._scenes.items() if scene_id in wanted]
            for scene in removed:
                del self._scenes[scene.scene_id]
            self._to_remove.update(scene.manifest.payload_sha256 for scene in removed)
            self._refused.update(scene.scene_id for scene in removed if removal.is_refused_again)
            self.log.append(removal_events(removed, removal))
        return removed

    def refuse(self, scene_ids: Collection[str], removal: Removal) -> None:
        with self._lock:
            new = set(scene_ids) - self._refused
            self._refused |= new
            if new:
                self.log.append([refusal_event(len(new), removal)])

    def payloads_to_remove(self) -> list[str]:
        with self._lock:
            return sorted(self._to_remove)

    def payloads_dealt_with(self, payload_sha256s: Collection[str]) -> None:
        with self._lock:
            self._to_remove.difference_update(payload_sha256s)

    def is_refused(self, scene_id: str) -> bool:
        with self._lock:
            return scene_id in self._refused

    def find(self, scene_ids: Iterable[str]) -> dict[str, StoredScene]:
        with self._lock:
            return {s: self._scenes[s] for s in scene_ids if s in self._scenes}

    def starting_with(self, prefix: str, limit: int) -> list[StoredScene]:
        with self._lock:
            return [scene for scene_id, scene in self._scenes.items() if scene_id.startswith(prefix)][:limit]

    def scenes(self, where: SceneFilter | None = None) -> Iterator[StoredScene]:
        with self._lock:
            found = list(self._scenes.values())
        return filter((where or SceneFilter()).fits, found)

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

    def agree(self, name: str, value: str) -> str:
        with self._lock:
            return self._agreements.setdefault(name, value)

    def close(self) -> None:
        pass


def _summary(scene: StoredScene) -> VehicleSummary:
    return VehicleSummary(
        vehicle_id=scene.manifest.vehicle_id,
        scenes=1,
        payload_bytes=scene.manifest.payload_bytes,
        last_stored_at_ns=scene.stored_at_ns,
        codecs=(scene.manifest.codec,),
        backbone_hashes=(scene.manifest.backbone_hash,),
    )
