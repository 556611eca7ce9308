"""Cars in labelled frames: how many, how large, and how many points they hold at which distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from shared_models.geometry.boxes import points_in_boxes_mask
from shared_models.records import Frame

CAR_NAMES: Final = frozenset({"car", "regular_vehicle"})  # in the datasets' own words
SECTOR_RAD: Final = math.radians(40.6)  # half of camera 2's view
DISTANCE_EDGES_M: Final = (0, 10, 20, 30, 40, 50, 70)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cars:
    """The labelled cars of one frame that hold at least one point; M cars.

    sizes_m: (M, 3) [length width height].
    distances_m: (M,) from the sensor, on the ground.
    is_ahead: (M,) whether the middle lies in KITTI's horizontal field of view, 81 degrees.
    points: (M,) points in the box.
    """

    sizes_m: NDArray[np.float64]
    distances_m: NDArray[np.float64]
    is_ahead: NDArray[np.bool_]
    points: NDArray[np.int64]


def cars_of(frame: Frame, sensor_m: NDArray[np.float32]) -> Cars | None:
    """The cars of a frame; None where it has no labels. sensor_m: (3,) [x y z] of the sensor in the frame."""
    if frame.labels is None:
        return None
    is_car = np.array([name.lower() in CAR_NAMES for name in frame.labels.class_names], dtype=np.bool_)
    boxes = frame.labels.boxes[is_car]
    xyz = torch.from_numpy(np.ascontiguousarray(frame.points[:, :3]))
    counts = points_in_boxes_mask(xyz, torch.from_numpy(boxes)).sum(0).numpy().astype(np.int64)
    is_hit = counts > 0
    x, y = (boxes[:, :2] - sensor_m[:2]).astype(np.float64).T
    return Cars(
        sizes_m=boxes[is_hit, 3:6].astype(np.float64),
        distances_m=np.hypot(x, y)[is_hit],
        is_ahead=(np.abs(np.arctan2(y, x)) <= SECTOR_RAD)[is_hit],
        points=counts[is_hit],
    )


def join(cars: list[Cars]) -> Cars:
    """The cars of all frames, in their order."""
    empty = Cars(
        sizes_m=np.empty((0, 3)),
        distances_m=np.empty(0),
        is_ahead=np.empty(0, dtype=np.bool_),
        points=np.empty(0, dtype=np.int64),
    )
    parts = [empty, *cars]
    return Cars(
        sizes_m=np.concatenate([c.sizes_m for c in parts]),
        distances_m=np.concatenate([c.distances_m for c in parts]),
        is_ahead=np.concatenate([c.is_ahead for c in parts]),
        points=np.concatenate([c.points for c in parts]),
    )
