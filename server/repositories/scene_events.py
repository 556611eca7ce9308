"""What a catalogue logs when scenes come and go."""

from __future__ import annotations

from collections.abc import Sequence

from server.repositories.access_log import Action, Detail, Event
from server.repositories.pseudonym import vehicle_tag
from server.repositories.removal import Removal
from server.repositories.repository import StoredScene


def upload_event(scene: StoredScene, actor: str | None) -> Event:
    """`scene` was stored; actor: who did it where not the vehicle."""
    described = describe(scene)
    return Event(
        at_ns=scene.stored_at_ns,
        actor=actor or f"vehicle/{described['vehicle']}",
        action=Action.UPLOAD,
        subject=scene.scene_id,
        detail=described,
    )


def removal_events(scenes: Sequence[StoredScene], removal: Removal) -> list[Event]:
    """`scenes` were deleted: an entry that says why, and one for each scene."""
    if not scenes:
        return []
    size = sum(scene.manifest.payload_bytes for scene in scenes)
    counted: Detail = {**removal.where, "scenes": len(scenes), "bytes": size, "refused": removal.is_refused_again}
    at_ns, actor = removal.at_ns, removal.actor
    why = Event(at_ns=at_ns, actor=actor, action=removal.action, detail=counted)
    gone = [
        Event(at_ns=at_ns, actor=actor, action=Action.REMOVED, subject=scene.scene_id, detail=describe(scene))
        for scene in scenes
    ]
    return [why, *gone]


def refusal_event(count: int, removal: Removal) -> Event:
    """So many half-sent scenes are never to be taken."""
    counted: Detail = {**removal.where, "scenes": 0, "bytes": 0, "half_sent": count, "refused": True}
    return Event(at_ns=removal.at_ns, actor=removal.actor, action=removal.action, detail=counted)


def describe(scene: StoredScene) -> dict[str, int | str]:
    """What the log keeps of a scene beside its id, also after it is deleted: tag, hash and size."""
    manifest = scene.manifest
    return {
        "vehicle": vehicle_tag(manifest.vehicle_id),
        "payload_sha256": manifest.payload_sha256,
        "bytes": manifest.payload_bytes,
    }
