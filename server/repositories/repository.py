"""What a scene catalogue does: remember which scenes are stored, in the order they came."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from server.repositories.access_log import AccessLog
from server.repositories.removal import Removal
from shared_models.errors import InvalidValueError, NotFoundError, PermissionDeniedError
from shared_models.records import SceneManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredScene:
    """One scene in the catalogue.

    manifest: as the vehicle sent it, except that `vehicle_id` may be a pseudonym (`server.repositories.pseudonym`).
    stored_at_ns: nanoseconds since the epoch, the server's clock, when it was made durable.
    scene_id: the one that follows from the manifest that the vehicle sent.
    guard: what the vehicle did to the features, as the payload's header says it and `Guard.described()` writes it;
        "none" where it did nothing, "" where nobody looked: scenes that were stored before this was kept.
    """

    manifest: SceneManifest
    stored_at_ns: int
    scene_id: str
    guard: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFilter:
    """Which scenes to list; None leaves a field open.

    guard: name with all settings, as `StoredScene.guard`; "none" finds scenes without one.
    vehicle_ids: any of these names, e.g. one vehicle's pseudonyms of several periods.
    taken_from_ns, taken_until_ns: from <= the manifest's `timestamp_ns` < until, nanoseconds since the epoch.
    stored_from_ns, stored_until_ns: the same of `stored_at_ns`.
    """

    EXACT: ClassVar[tuple[str, ...]] = ("vehicle_id", "codec", "backbone_hash", "split_layer", "region", "guard")

    vehicle_id: str | None = None
    codec: str | None = None
    backbone_hash: str | None = None
    split_layer: str | None = None
    region: str | None = None
    guard: str | None = None
    vehicle_ids: frozenset[str] | None = None
    taken_from_ns: int | None = None
    taken_until_ns: int | None = None
    stored_from_ns: int | None = None
    stored_until_ns: int | None = None

    def __post_init__(self) -> None:
        for name in ("taken", "stored"):
            from_ns, until_ns = getattr(self, f"{name}_from_ns"), getattr(self, f"{name}_until_ns")
            if from_ns is not None and until_ns is not None and from_ns > until_ns:
                raise InvalidValueError(
                    f"SceneFilter.{name}_from_ns: expected at most {name}_until_ns, {until_ns}, got {from_ns}"
                )

    def fits(self, scene: StoredScene) -> bool:
        """Whether `scene` is one to list."""
        manifest = scene.manifest
        wanted = {name: getattr(self, name) for name in self.EXACT}
        return (
            all(value is None or _field(scene, name) == value for name, value in wanted.items())
            and (self.vehicle_ids is None or manifest.vehicle_id in self.vehicle_ids)
            and _is_between(self.taken_from_ns, manifest.timestamp_ns, self.taken_until_ns)
            and _is_between(self.stored_from_ns, scene.stored_at_ns, self.stored_until_ns)
        )


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

    log: AccessLog
    """What was done with the scenes. Adding and removing write it themselves, in the same transaction."""

    @abstractmethod
    def add(
        self,
        manifest: SceneManifest,
        stored_at_ns: int,
        scene_id: str | None = None,
        actor: str | None = None,
        guard: str = "",
    ) -> StoredScene:
        """Remember a scene durably; what is already there stays as it is and is returned.

        scene_id: the vehicle's, where `manifest` holds a pseudonym from which it no longer follows.
        actor: who stores it, for the log; None: the vehicle.
        guard: as in `StoredScene`.

        Raises:
            StorageFullError: no space for the row.
            PermissionDeniedError: it was deleted, and is not to be taken again.
        """

    def add_many(self, new: Sequence[StoredScene]) -> list[StoredScene | PermissionDeniedError]:
        """Remember scenes from vehicles durably, in this order; what `add` returns or raises for each.

        Of a new one that is the very object that was given.

        Overridden where all together cost less than one by one. Then they are added all or none.

        Raises:
            StorageFullError, StorageError: as in `add`; some of them may have been added.
        """
        return [self._added(each) for each in new]

    @abstractmethod
    def remove(self, scene_ids: Iterable[str], removal: Removal | None = None) -> list[StoredScene]:
        """Forget scenes durably, all of them or none; returns those that were there, in the order they came.

        Payloads stay, and are remembered as `payloads_to_remove`; server/records/deletion.py removes them.
        removal: who does it and what for, for the log; None: whoever runs this process.
        """

    @abstractmethod
    def refuse(self, scene_ids: Collection[str], removal: Removal) -> None:
        """Never take these scenes, durably, though none of them is stored: they were half-sent when they were deleted.

        removal: who does it and what for, for the log.
        """

    @abstractmethod
    def payloads_to_remove(self) -> list[str]:
        """SHA-256 of payloads of removed scenes that nobody has dealt with; another scene may have them, too."""

    @abstractmethod
    def payloads_dealt_with(self, payload_sha256s: Collection[str]) -> None:
        """These payloads are removed from the store, or another scene has them."""

    @abstractmethod
    def is_refused(self, scene_id: str) -> bool:
        """Whether a scene was deleted and is not to be taken again."""

    def known(self, scene_id: str) -> StoredScene | None:
        """The scene, if it is stored.

        Raises:
            PermissionDeniedError: it was deleted, and is not to be taken again.
        """
        stored = self.find([scene_id]).get(scene_id)
        if stored is None and self.is_refused(scene_id):
            raise refused_again(scene_id)
        return stored

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
    def agree(self, name: str, value: str) -> str:
        """Write `value` down under `name` unless there is one; returns the one that holds for all servers."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""

    def _added(self, new: StoredScene) -> StoredScene | PermissionDeniedError:
        try:
            found = self.add(new.manifest, new.stored_at_ns, new.scene_id, guard=new.guard)
            return new if found == new else found
        except PermissionDeniedError as error:
            return error

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


def new_scene(manifest: SceneManifest, stored_at_ns: int, scene_id: str | None, guard: str) -> StoredScene:
    """What `SceneCatalogue.add` remembers."""
    found = scene_id or manifest.scene_id
    return StoredScene(manifest=manifest, stored_at_ns=stored_at_ns, scene_id=found, guard=guard)


def merge_summaries(parts: Iterable[VehicleSummary]) -> list[VehicleSummary]:
    """One summary of each vehicle, by name, from those of parts of its scenes."""
    merged: dict[str, VehicleSummary] = {}
    for part in parts:
        known = merged.get(part.vehicle_id)
        merged[part.vehicle_id] = part if known is None else _together(known, part)
    return [merged[vehicle_id] for vehicle_id in sorted(merged)]


def refused_again(scene_id: str) -> PermissionDeniedError:
    """What a vehicle is told that sends a deleted scene which is not taken again."""
    return PermissionDeniedError(f"scene {scene_id[:12]} was deleted by the operator and is not taken again")


def _together(first: VehicleSummary, second: VehicleSummary) -> VehicleSummary:
    return VehicleSummary(
        vehicle_id=first.vehicle_id,
        scenes=first.scenes + second.scenes,
        payload_bytes=first.payload_bytes + second.payload_bytes,
        last_stored_at_ns=max(first.last_stored_at_ns, second.last_stored_at_ns),
        codecs=tuple(sorted({*first.codecs, *second.codecs})),
        backbone_hashes=tuple(sorted({*first.backbone_hashes, *second.backbone_hashes})),
    )


def _field(scene: StoredScene, name: str) -> object:
    return getattr(scene if name == "guard" else scene.manifest, name)


def _is_between(from_ns: int | None, at_ns: int, until_ns: int | None) -> bool:
    return (from_ns is None or from_ns <= at_ns) and (until_ns is None or at_ns < until_ns)
