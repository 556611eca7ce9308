"""Unlabelled scenes as vehicles sent them: features from the server's store, never raw scans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.repositories.access_log import Action
from server.repositories.archive import open_archive
from server.repositories.read_recorder import record_read
from server.repositories.repository import SceneFilter, StoredScene
from server.stores.memory import MemoryPayloadStore
from server.stores.store import PayloadStore
from shared_models import codecs, guards
from shared_models.errors import ConfigError, NotFoundError, SenderError, StorageError
from shared_models.records import SceneFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Which stored scenes are learned from.

    folder: the server's data folder; "" is the one that the run is kept in.
    vehicle_id: only scenes of this vehicle; "" takes all.
    codec: only scenes in this codec.
    guard: only scenes that went through this guard on the vehicle, as `shared_models.guards.build` takes it.
    scenes: at most so many, those that came first; 0 takes all.
    """

    folder: str = ""
    vehicle_id: str = ""
    codec: str = "float16"
    guard: str = "none"
    scenes: int = 0

    def __post_init__(self) -> None:
        check.count("StoreConfig", "scenes", self.scenes, 10**9, 0)
        if self.guard != "none":
            guards.build(self.guard)  # an unknown name is refused before anything is read

    @property
    def described_guard(self) -> str:
        """The guard with all its settings, equal for equal guards."""
        return guards.build(self.guard).described()


class StoredScenes:
    """Stored scenes of one backbone, by number; safe to use from several threads."""

    def __init__(self, store: PayloadStore, scenes: Sequence[StoredScene]) -> None:
        self._store = store
        self.scenes = tuple(scenes)

    @classmethod
    def open(cls, data: Path, backbone_hash: str, config: StoreConfig) -> StoredScenes:
        """Those that `config` names and that this backbone made.

        Raises:
            NotFoundError: no server has stored anything there.
            ConfigError: no scene of this backbone is stored.
        """
        found = cls.look(data, backbone_hash, config)
        if not len(found):
            folder = Path(config.folder) if config.folder else data
            raise ConfigError(
                f"{folder}: no stored scene has backbone {backbone_hash[:12]}, codec {config.codec} "
                f"and guard {config.described_guard}"
                f"{f', vehicle {config.vehicle_id}' if config.vehicle_id else ''}; "
                "vehicles must run the checkpoint that training starts from; `upcycle server ls` lists what is there"
            )
        record_training(data, config, found)
        return found

    @classmethod
    def look(cls, data: Path, backbone_hash: str, config: StoreConfig, split_layer: str | None = None) -> StoredScenes:
        """As `open`, but there may be no scene at all. split_layer: only features of this layer; None takes all.

        They are in the order of their payloads' hashes: vehicles send in another order every time, under pseudonyms of
        another key, and what is learned should follow from the features and the seed alone.

        Raises:
            NotFoundError: no server has stored anything there.
        """
        archive = open_archive(Path(config.folder) if config.folder else data)
        where = SceneFilter(
            vehicle_id=config.vehicle_id or None,
            codec=config.codec,
            backbone_hash=backbone_hash,
            split_layer=split_layer,
        )
        try:
            wanted = config.described_guard
            found = [scene for scene in archive.catalogue.scenes(where) if _guard_of(scene, archive.store) == wanted]
        finally:
            archive.close()  # payloads are files: the database is not needed any more
        chosen = found[: config.scenes] if config.scenes else found
        return cls(archive.store, sorted(chosen, key=lambda scene: (scene.manifest.payload_sha256, scene.scene_id)))

    @classmethod
    def none(cls) -> StoredScenes:
        """No scene: what a run that follows a store begins with."""
        return cls(MemoryPayloadStore(), ())

    def still(self, scene_ids: Iterable[str]) -> StoredScenes:
        """Those of these scenes that are stored, in their order."""
        known = {scene.scene_id: scene for scene in self.scenes}
        return StoredScenes(self._store, [known[scene_id] for scene_id in scene_ids if scene_id in known])

    def only(self, scene_ids: Sequence[str]) -> StoredScenes:
        """These scenes, in this order.

        Raises:
            ConfigError: one of them is not stored any more.
        """
        known = {scene.scene_id: scene for scene in self.scenes}
        missing = [scene_id for scene_id in scene_ids if scene_id not in known]
        if missing:
            raise ConfigError(
                f"{len(missing)} of the {len(scene_ids)} stored scenes that this run learns from are gone, such as "
                f"{missing[0][:12]}; begin anew with --fresh"
            )
        return StoredScenes(self._store, [known[scene_id] for scene_id in scene_ids])

    def __len__(self) -> int:
        return len(self.scenes)

    def features(self, number: int) -> SceneFeatures:
        """The features of a scene, decoded.

        Raises:
            NotFoundError, StorageError: the payload is gone or damaged.
            PayloadError: it cannot be decoded.
        """
        return codecs.decode(self._store.read(self.scenes[number].manifest.payload_sha256))


def _guard_of(scene: StoredScene, store: PayloadStore) -> str:
    """What was done to a stored scene; the payload knows where the catalogue did not keep it yet."""
    if scene.guard:
        return scene.guard
    try:
        return codecs.read_header(store.read(scene.manifest.payload_sha256)).guard_or_none
    except (NotFoundError, SenderError, StorageError):
        return "none"  # it cannot be read: who learns from it says so


def record_training(data: Path, config: StoreConfig, scenes: StoredScenes) -> None:
    """Log that a run learns from these scenes from now on, in the log of access of their store."""
    record_read(Path(config.folder) if config.folder else data, Action.TRAIN, detail={"scenes": len(scenes)})
