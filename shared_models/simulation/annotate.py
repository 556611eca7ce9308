"""Labels as annotators give them: objects that have points, with boxes around them, occlusion and truncation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared_models.records import CameraCalibration, ObjectLabels
from shared_models.simulation.lidar import Rays, Scan
from shared_models.simulation.mesh import Mesh
from shared_models.simulation.traffic import Actor, Places
from shared_models.simulation.viewpoint import project

Floats = NDArray[np.float64]

OCCLUSION_STEPS: Final = (0.15, 0.60)  # hidden shares from which an object counts as partly and as largely occluded
BEFORE_BOX_M: Final = 0.15  # a surface that much before a box hides it
MIN_IMAGE_PX: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Which objects are annotated: those with enough points within a horizontal distance."""

    min_points: int
    range_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """K objects of a moment, in the LiDAR frame.

    boxes: (K, 7) float64, just around the objects, which may lean.
    vertices: for each, (V, 3) float32 vertices of its triangles, LiDAR frame.
    """

    actors: tuple[Actor, ...]
    boxes: Floats
    vertices: tuple[NDArray[np.float32], ...]

    def track_ids(self) -> NDArray[np.int64]:
        """(K,) int64."""
        return np.array([actor.track_id for actor in self.actors], dtype=np.int64)


def upright_boxes(actors: Sequence[Actor], where: Places, world_from_lidar: Floats) -> Floats:
    """(K, 7) float64: the smallest boxes, upright in the LiDAR frame and turned as the objects, that hold them."""
    sizes = np.array([actor.size_m for actor in actors], dtype=np.float64).reshape(-1, 3)
    rotations = where.rotations()
    middles = where.positions() + rotations[:, :, 2] * sizes[:, 2:] / 2
    relative = world_from_lidar[:3, :3].T @ rotations
    yaw = np.arctan2(relative[:, 1, 0], relative[:, 0, 0])
    cosine, sine, zero = np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)
    unturn = np.stack(
        [np.stack(row, axis=-1) for row in ([cosine, sine, zero], [-sine, cosine, zero], [zero, zero, zero + 1])],
        axis=-2,
    )
    extents = (np.abs(unturn @ relative) @ sizes[:, :, None])[:, :, 0]
    centres = (middles - world_from_lidar[:3, 3]) @ world_from_lidar[:3, :3]
    return np.concatenate([centres, extents, yaw[:, None]], axis=1)


def vertices_of(
    track_id: int, mesh: Mesh, where: dict[int, tuple[int, int]], world_from_lidar: Floats
) -> NDArray[np.float32]:
    """(V, 3) float32 vertices of one object, LiDAR frame; `where` is `spans(mesh)`."""
    begin, end = where.get(track_id, (0, 0))
    corners = mesh.corners[begin:end].reshape(-1, 3)
    return ((corners - world_from_lidar[:3, 3]) @ world_from_lidar[:3, :3]).astype(np.float32)


def annotate(
    objects: Objects, rays: Rays, scan: Scan, camera: CameraCalibration, is_camera_only: bool, policy: Policy
) -> ObjectLabels:
    """Labels of the objects that the policy asks for, in the order of their track ids.

    is_camera_only: objects outside the image are left out; otherwise they have no image box (NaN) and truncation 1.
    Other objects with points whose image box is known become `image_only_boxes` (KITTI's DontCare).
    """
    track_ids = objects.track_ids()
    counts = np.bincount(scan.instance, minlength=int(track_ids.max(initial=0)) + 1)[track_ids]
    order = np.argsort(track_ids, kind="stable")
    image_boxes, truncation = _image_boxes(objects.vertices, camera)
    shows = np.isfinite(image_boxes[:, 0])
    is_wanted = (counts >= policy.min_points) & (np.hypot(*objects.boxes[:, :2].T) <= policy.range_m)
    labelled = [k for k in order if is_wanted[k] and (shows[k] or not is_camera_only)]
    unlabelled = [k for k in order if counts[k] > 0 and not is_wanted[k] and shows[k]]
    hidden = np.array([_hidden_share(objects.boxes[k], rays, scan.reach_m) for k in labelled])
    return ObjectLabels(
        boxes=objects.boxes[labelled].astype(np.float32),
        class_names=tuple(objects.actors[k].class_name for k in labelled),
        image_boxes=image_boxes[labelled].astype(np.float32),
        occlusion=np.searchsorted(OCCLUSION_STEPS, hidden, side="right").astype(np.int64),
        truncation=truncation[labelled].astype(np.float32),
        image_only_boxes=image_boxes[unlabelled].astype(np.float32),
        track_ids=track_ids[labelled],
    )


def _image_boxes(vertices: Sequence[NDArray[np.float32]], camera: CameraCalibration) -> tuple[Floats, Floats]:
    """(K, 4) image boxes, NaN where nothing shows, and (K,) shares of them that lie outside the image."""
    boxes, truncation = np.full((len(vertices), 4), np.nan), np.ones(len(vertices))
    height, width = camera.image_size
    for k, positions in enumerate(vertices):
        pixels, depth = project(positions, camera)
        if not len(pixels) or depth.max() < 0.5:
            continue
        whole = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
        clipped = np.clip(whole, 0, [width - 1, height - 1, width - 1, height - 1])
        extent, shown = whole[2:] - whole[:2], clipped[2:] - clipped[:2]
        if shown.min() >= MIN_IMAGE_PX:
            boxes[k] = clipped
            truncation[k] = np.clip(1 - shown.prod() / max(extent.prod(), 1e-9), 0, 1)
    return boxes, truncation


def _hidden_share(box: Floats, rays: Rays, reach_m: NDArray[np.float32]) -> float:
    """Share of the rays towards the box that meet something before it; 0 where no ray goes there."""
    chosen = _rays_towards(box, rays)
    cosine, sine = np.cos(box[6]), np.sin(box[6])
    unturn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    origins = ((rays.origins[chosen] - box[:3]) @ unturn.T).T
    directions = (rays.directions[chosen] @ unturn.T).T
    slowness = 1 / np.where(np.abs(directions) < 1e-9, 1e-9, directions)
    middle, reach = -origins * slowness, np.abs(slowness) * (box[3:6, None] / 2)
    enters, leaves = (middle - reach).max(axis=0), (middle + reach).min(axis=0)
    through = (leaves > enters) & (leaves > 0)
    if not through.any():
        return 0.0
    return float((reach_m[chosen][through] < enters[through] - BEFORE_BOX_M).mean())


def _rays_towards(box: Floats, rays: Rays) -> NDArray[np.int64]:
    """Rays whose horizontal direction passes the circle around the box."""
    radius = float(np.hypot(box[3], box[4])) / 2 + 0.6  # the sensor moves by some decimetres in a turn
    distance = float(np.hypot(box[0], box[1]))
    if distance <= radius:
        return np.arange(len(rays.directions))
    towards = box[:2] / distance
    x, y = rays.directions[:, 0], rays.directions[:, 1]
    ahead, aside = (
        x * np.float32(towards[0]) + y * np.float32(towards[1]),
        y * np.float32(towards[0]) - x * np.float32(towards[1]),
    )
    limit = np.float32(radius / np.sqrt(distance**2 - radius**2))
    return np.flatnonzero((ahead > 0) & (np.abs(aside) < limit * ahead))
