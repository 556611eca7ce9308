"""The overview as JSON: which vehicles, by their tags, have sent what, and the list of stored scenes."""

from __future__ import annotations

from typing import Any

from server.dashboard.numbers import iso_time
from server.repositories.pseudonym import vehicle_tag
from server.repositories.repository import SceneCatalogue, SceneFilter, StoredScene
from shared_models.errors import NotFoundError


def describe_fleet(catalogue: SceneCatalogue) -> dict[str, Any]:
    """Every vehicle, the one heard of last first, and the sums."""
    vehicles = sorted(catalogue.vehicles(), key=lambda vehicle: -vehicle.last_stored_at_ns)
    return {
        "scenes": sum(vehicle.scenes for vehicle in vehicles),
        "payload_bytes": sum(vehicle.payload_bytes for vehicle in vehicles),
        "vehicles": [
            {
                "vehicle": vehicle_tag(vehicle.vehicle_id),
                "scenes": vehicle.scenes,
                "payload_bytes": vehicle.payload_bytes,
                "last_stored_at": iso_time(vehicle.last_stored_at_ns),
                "codecs": vehicle.codecs,
                "backbone_hashes": vehicle.backbone_hashes,
            }
            for vehicle in vehicles
        ],
    }


def describe_scenes(catalogue: SceneCatalogue, tag: str | None, offset: int, limit: int) -> dict[str, Any]:
    """One page of the stored scenes, newest first, of all vehicles or of the one with this tag.

    Raises:
        NotFoundError: no vehicle, or more than one, has this tag.
    """
    where = None if tag is None else SceneFilter(vehicle_id=_vehicle_of(catalogue, tag))
    found = catalogue.newest(limit, offset, where)
    total = catalogue.counts(where).scenes
    return {"total": total, "offset": offset, "scenes": [describe_scene(stored) for stored in found]}


def describe_scene(stored: StoredScene) -> dict[str, Any]:
    """One row of the list: the manifest without the vehicle's name."""
    manifest = stored.manifest
    return {
        "scene_id": stored.scene_id,
        "vehicle": vehicle_tag(manifest.vehicle_id),
        "frame_id": manifest.frame_id,
        "taken_at": iso_time(manifest.timestamp_ns),
        "stored_at": iso_time(stored.stored_at_ns),
        "codec": manifest.codec,
        "split_layer": manifest.split_layer,
        "backbone_hash": manifest.backbone_hash,
        "payload_sha256": manifest.payload_sha256,
        "payload_bytes": manifest.payload_bytes,
    }


def _vehicle_of(catalogue: SceneCatalogue, tag: str) -> str:
    found = [v.vehicle_id for v in catalogue.vehicles() if vehicle_tag(v.vehicle_id) == tag]
    if len(found) != 1:
        several = "several vehicles have" if found else "no vehicle has"
        raise NotFoundError(f"{several} the tag {tag[:80]!r}; the overview lists the tags")
    return found[0]
