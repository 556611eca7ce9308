"""What a scene catalogue does: remember which scenes are stored, in the order they came."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared_models.errors import InvalidValueError, NotFoundError
from shared_models.records import SceneManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredScene:
    """One scene in the catalogue.

    manifest: as the vehicle sent it, except that `vehicle_id` may be a pseudonym (`server.repositories.pseudonym`).
    stored_at_ns: nanoseconds since the epoch, the server's clock, when it was made durable.
    scene_id: the one that follows from the manifest that the vehicle sent.
    """

    manifest: SceneManifest
    stored_at_ns: int
    scene_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFilter:
    """Which scenes to list; None leaves a field open."""

    vehicle_id: str | None = None
    codec: str | None = None
    backbone_hash: str | None = None
    split_layer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueCounts:
    """Scenes in the catalogue and the sum of their payloads in bytes."""

    scenes: int
    payload_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleSummary:
    """What is stored of one vehicle.

    vehicle_id: its name in the catalogue; `server.repositories.pseudonym.vehicle_tag` is for people.
    scenes, payload_bytes: number of its scenes, and the sum of their payloads in bytes.
    last_stored_at_ns: nanoseconds since the epoch, when its newest scene was made durable.
    codecs, backbone_hashes: those that its scenes have, sorted.
    """

    vehicle_id: str
    scenes: int
    payload_bytes: int
    last_stored_at_ns: int
    codecs: tuple[str, ...]
    backbone_hashes: tuple[str, ...]


class SceneCatalogue(ABC):
    """Stored scenes; safe to use from several threads. Each call raises StorageError where the database fails."""

    @abstractmethod
    def add(self, manifest: SceneManifest, stored_at_ns: int, scene_id: str | None = None) -> StoredScene:
        """Remember a scene durably; what is already there stays as it is and is returned.

        scene_id: the vehicle's, where `manifest` holds a pseudonym from which it no longer follows.

        Raises:
            StorageFullError: no space for the row.
        """

    @abstractmethod
    def find(self, scene_ids: Iterable[str]) -> dict[str, StoredScene]:
        """Those of `scene_ids` that are stored."""

    @abstractmethod
    def starting_with(self, prefix: str, limit: int) -> list[StoredScene]:
        """At most `limit` scenes whose id begins with `prefix`."""

    @abstractmethod
    def scenes(self, where: SceneFilter | None = None) -> Iterator[StoredScene]:
        """Stored scenes in the order they came; those added while reading may be left out."""

    @abstractmethod
    def newest(self, limit: int, offset: int = 0, where: SceneFilter | None = None) -> list[StoredScene]:
        """At most `limit` stored scenes, the one that came last first, without the first `offset` of them."""

    @abstractmethod
    def has_payload(self, payload_sha256: str) -> bool:
        """Whether any stored scene has this payload."""

    @abstractmethod
    def counts(self, where: SceneFilter | None = None) -> CatalogueCounts:
        """How much is stored."""

    @abstractmethod
    def vehicles(self) -> list[VehicleSummary]:
        """Every vehicle of which something is stored, by name."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""

    def get(self, prefix: str) -> StoredScene:
        """The scene whose id is or begins with `prefix`.

        Raises:
            NotFoundError: no scene, or several, have such an id.
            InvalidValueError: `prefix` is not hexadecimal.
        """
        if not prefix or set(prefix) - set("0123456789abcdef"):
            raise InvalidValueError(f"scene id: expected lower-case hexadecimal digits, got {prefix!r}")
        found = self.starting_with(prefix, 2)
        if not found:
            raise NotFoundError(f"no scene {prefix} is stored; `upcycle server ls` lists the ids")
        if len(found) > 1:
            raise NotFoundError(
                f"several scenes begin with {prefix}, e.g. {found[0].scene_id} and {found[1].scene_id}: "
                "give more digits"
            )
        return found[0]


def merge_summaries(parts: Iterable[VehicleSummary]) -> list[VehicleSummary]:
    """One summary of each vehicle, by name, from those of parts of its scenes."""
    merged: dict[str, VehicleSummary] = {}
    for part in parts:
        known = merged.get(part.vehicle_id)
        merged[part.vehicle_id] = part if known is None else _together(known, part)
    return [merged[vehicle_id] for vehicle_id in sorted(merged)]


def _together(first: VehicleSummary, second: VehicleSummary) -> VehicleSummary:
    return VehicleSummary(
        vehicle_id=first.vehicle_id,
        scenes=first.scenes + second.scenes,
        payload_bytes=first.payload_bytes + second.payload_bytes,
        last_stored_at_ns=max(first.last_stored_at_ns, second.last_stored_at_ns),
        codecs=tuple(sorted({*first.codecs, *second.codecs})),
        backbone_hashes=tuple(sorted({*first.backbone_hashes, *second.backbone_hashes})),
    )
