"""Unlabelled scenes as vehicles sent them: features from the server's store, never raw scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from server.repositories.archive import SceneArchive, open_archive
from server.repositories.repository import SceneFilter, StoredScene
from shared_models import codecs
from shared_models.errors import ConfigError
from shared_models.records import SceneFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Which stored scenes are learned from.

    folder: the server's data folder; "" is the one that the run is kept in.
    vehicle_id, codec: only scenes of this vehicle, in this codec; "" takes all.
    scenes: at most so many, in the order they came; 0 takes all.
    """

    folder: str = ""
    vehicle_id: str = ""
    codec: str = ""
    scenes: int = 0

    def __post_init__(self) -> None:
        check.count("StoreConfig", "scenes", self.scenes, 10**9, 0)


class StoredScenes:
    """Stored scenes of one backbone, by number; safe to use from several threads."""

    def __init__(self, archive: SceneArchive, scenes: Sequence[StoredScene]) -> None:
        self._archive = archive
        self.scenes = tuple(scenes)

    @classmethod
    def open(cls, data: Path, backbone_hash: str, config: StoreConfig) -> StoredScenes:
        """Those that `config` names and that this backbone made.

        Raises:
            NotFoundError: no server has stored anything there.
            ConfigError: no scene of this backbone is stored.
        """
        folder = Path(config.folder) if config.folder else data
        archive = open_archive(folder)
        where = SceneFilter(
            vehicle_id=config.vehicle_id or None, codec=config.codec or None, backbone_hash=backbone_hash
        )
        found = list(archive.catalogue.scenes(where))
        if config.scenes:
            found = found[: config.scenes]
        if not found:
            archive.close()
            raise ConfigError(
                f"{folder}: no stored scene has backbone {backbone_hash[:12]}"
                f"{f', codec {config.codec}' if config.codec else ''}"
                f"{f', vehicle {config.vehicle_id}' if config.vehicle_id else ''}; "
                "vehicles must run the checkpoint that training starts from; `upcycle server ls` lists what is there"
            )
        return cls(archive, found)

    def __len__(self) -> int:
        return len(self.scenes)

    def features(self, number: int) -> SceneFeatures:
        """The features of a scene, decoded.

        Raises:
            NotFoundError, StorageError: the payload is gone or damaged.
            PayloadError: it cannot be decoded.
        """
        return codecs.decode(self._archive.encoded(self.scenes[number]).payload)

    def close(self) -> None:
        """Let go of the database."""
        self._archive.close()
