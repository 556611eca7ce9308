"""Deleting stored scenes: rows and their entries in the log first, together; then payloads that no scene needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from itertools import islice

from server.repositories.access_log import Detail
from server.repositories.archive import SceneArchive
from server.repositories.pseudonym import vehicle_tag
from server.repositories.removal import Removal
from server.repositories.repository import SceneFilter, StoredScene
from shared_models.errors import InvalidValueError

logger = logging.getLogger(__name__)

_BOUNDS = ("taken_from_ns", "taken_until_ns", "stored_from_ns", "stored_until_ns")
BATCH = 1000
"""Scenes that go in one transaction: vehicles' uploads wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a deletion would delete.

    where: what was asked for, for the log. vehicles: tags. payload_bytes: sum over scenes; some may share a payload.
    half_sent: scenes of which only a part came; nobody knows whose they are unless their ids are given.
    """

    where: Detail
    scene_ids: tuple[str, ...]
    payload_bytes: int
    vehicles: tuple[str, ...]
    half_sent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What a deletion deleted. payloads, payload_bytes: files that were removed."""

    scenes: int = 0
    payloads: int = 0
    payload_bytes: int = 0

    def __add__(self, other: Deleted) -> Deleted:
        return Deleted(
            scenes=self.scenes + other.scenes,
            payloads=self.payloads + other.payloads,
            payload_bytes=self.payload_bytes + other.payload_bytes,
        )


def plan_where(archive: SceneArchive, where: SceneFilter) -> Plan:
    """The scenes that fit `where`.

    Raises:
        InvalidValueError: it leaves everything open.
        StorageError: the catalogue does not answer.
    """
    if where == SceneFilter():
        raise InvalidValueError("deletion: expected a vehicle, a time, a region or scene ids; got nothing")
    return _plan(archive.catalogue.scenes(where), describe_filter(where))


def plan_scenes(archive: SceneArchive, scene_ids: Collection[str]) -> Plan:
    """These scenes, by their ids or the beginnings of them; whole ids may be of scenes that have only begun to come in.

    Raises:
        NotFoundError: nothing, or more than one scene, has such an id.
        InvalidValueError: an id is not hexadecimal.
        StorageError: catalogue or store do not answer.
    """
    half_sent = [each for each in scene_ids if _is_whole(each) and archive.store.partial_bytes(each)]
    found = [archive.catalogue.get(each) for each in scene_ids if each not in half_sent]
    found += archive.catalogue.find(half_sent).values()  # stored, and being sent again
    plan = _plan({scene.scene_id: scene for scene in found}.values(), {"by": "scene ids"})
    return replace(plan, half_sent=tuple(half_sent))


def delete(
    archive: SceneArchive, plan: Plan, removal: Removal, progress: Callable[[int, int], None] | None = None
) -> Deleted:
    """Delete what `plan` names, in batches; `removal.where` is replaced by the plan's.

    Where this is cut off, the scenes that are left are still stored and can be deleted by the same command; payloads of
    those that went are removed by `remove_left_over`, which the next deletion begins with.

    Raises:
        StorageFullError, StorageError: the database or the disk does not answer.
    """
    removal = replace(removal, where=plan.where)
    deleted, wanted = Deleted(), iter(plan.scene_ids)
    while batch := list(islice(wanted, BATCH)):
        deleted += delete_batch(archive, batch, removal)
        if progress is not None:
            progress(deleted.scenes, len(plan.scene_ids))
    if removal.is_refused_again and plan.half_sent:
        archive.catalogue.refuse(plan.half_sent, removal)  # first: a stream that is sending one cannot finish it now
    for scene_id in plan.half_sent:
        archive.store.open_partial(scene_id).discard()
    return deleted


def delete_batch(archive: SceneArchive, scene_ids: Iterable[str], removal: Removal) -> Deleted:
    """Delete scenes in one transaction, and then their payloads unless other scenes have them, too.

    Raises:
        StorageFullError, StorageError: the database or the disk does not answer.
    """
    gone = archive.catalogue.remove(scene_ids, removal)
    sizes = {scene.manifest.payload_sha256: scene.manifest.payload_bytes for scene in gone}
    removed = [sha256 for sha256 in sizes if remove_unless_needed(archive, sha256)]
    archive.catalogue.payloads_dealt_with(sizes)
    if gone:
        size = sum(scene.manifest.payload_bytes for scene in gone)
        logger.info("scenes deleted", extra={"scenes": len(gone), "bytes": size, "why": removal.action.value})
    return Deleted(scenes=len(gone), payloads=len(removed), payload_bytes=sum(sizes[sha256] for sha256 in removed))


def remove_unless_needed(archive: SceneArchive, payload_sha256: str) -> bool:
    """Remove a payload that no stored scene has; whether it was there and is gone.

    A server that is about to store a scene with this payload holds it, in whatever process it runs.
    """
    with archive.store.hold(payload_sha256, is_alone=True):
        if archive.catalogue.has_payload(payload_sha256):
            return False
        was_there = archive.store.has(payload_sha256)
        archive.store.remove(payload_sha256)  # in any case: an earlier removal may have been cut off
        return was_there


def remove_left_over(archive: SceneArchive) -> int:
    """Remove payloads of deleted scenes that a deletion which was cut off has left; returns how many."""
    left = archive.catalogue.payloads_to_remove()
    removed = sum(remove_unless_needed(archive, sha256) for sha256 in left)
    archive.catalogue.payloads_dealt_with(left)
    return removed


def describe_filter(where: SceneFilter) -> dict[str, int | str | list[str]]:
    """What was asked for, with tags in the place of vehicles' names."""
    named = {name: getattr(where, name) for name in (*SceneFilter.EXACT, *_BOUNDS) if name != "vehicle_id"}
    described = {name: value for name, value in named.items() if value is not None}
    names = {*(where.vehicle_ids or ()), *([] if where.vehicle_id is None else [where.vehicle_id])}
    return described | ({"vehicles": sorted(map(vehicle_tag, names))} if names else {})


def _plan(scenes: Iterable[StoredScene], where: Detail) -> Plan:
    ids, size, tags = [], 0, set()
    for scene in scenes:
        ids.append(scene.scene_id)
        size += scene.manifest.payload_bytes
        tags.add(vehicle_tag(scene.manifest.vehicle_id))
    return Plan(where=where, scene_ids=tuple(ids), payload_bytes=size, vehicles=tuple(sorted(tags)))


def _is_whole(scene_id: str) -> bool:
    return len(scene_id) == 64 and not set(scene_id) - set("0123456789abcdef")
