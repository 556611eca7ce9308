"""Statistics of one dataset as named values, and of several side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

from shared_models.datasets.full_turn import is_full_turn
from shared_models.records import Frame
from shared_models.statistics.ground import ground_mask
from shared_models.statistics.objects import DISTANCE_EDGES_M, Cars, cars_of, join
from shared_models.statistics.rings import azimuth_step, elevation_rows
from shared_models.statistics.voxels import STAGES, active_voxels

# Camera 2 of most KITTI frames: 81 degrees across, 13 up, 16 down.
FOCAL_PIXELS, CENTRE_PIXELS, IMAGE_PIXELS = 721.5, (609.6, 172.9), (1242, 375)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Statistics of one dataset.

    name: as shown in tables. is_simulated: whether its scans were computed.
    values: number by row name, in the table's order; a value that the dataset cannot give is left out.
    counts: how many cars stand behind a row, where few do.
    """

    name: str
    is_simulated: bool
    values: Mapping[str, float]
    counts: Mapping[str, int] = field(default_factory=dict)


def in_view(points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(N,) bool: points that KITTI's camera 2 would see from the sensor's place, whatever camera the dataset has.

    points: (N, F) float32 [x y z ...], metres, origin in the sensor.
    """
    x, y, z = points[:, :3].astype(np.float64).T
    depth = np.maximum(x, 1e-6)
    u, v = CENTRE_PIXELS[0] - FOCAL_PIXELS * y / depth, CENTRE_PIXELS[1] - FOCAL_PIXELS * z / depth
    seen: NDArray[np.bool_] = (x > 0) & (u >= 0) & (u < IMAGE_PIXELS[0]) & (v >= 0) & (v < IMAGE_PIXELS[1])
    return seen


def collect(
    name: str,
    frames: Iterable[Frame],
    sensor_m: NDArray[np.float32],
    is_simulated: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> Statistics:
    """Statistics over `frames`; medians over frames unless a row says otherwise.

    sensor_m: (3,) float32 [x y z] of the LiDAR in the frames' coordinates. progress: called after each frame.
    """
    rows: dict[str, list[float]] = {}
    cars: list[Cars] = []
    frame_count = 0
    for frame in frames:
        frame_count += 1
        for key, value in _scan_values(frame, sensor_m).items():
            rows.setdefault(key, []).append(value)
        found = cars_of(frame, sensor_m)
        if found is not None:
            cars.append(found)
        progress()
    values: dict[str, float] = {"frames": frame_count}
    values |= {key: _middle(rows[key]) for key in SCAN_ROWS if key in rows}
    car_values, counts = _car_values(cars)
    return Statistics(name=name, is_simulated=is_simulated, values=values | car_values, counts=counts)


def _middle(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(median(finite)) if finite else math.nan


def _scan_values(frame: Frame, sensor_m: NDArray[np.float32]) -> dict[str, float]:
    moved = frame.points.copy()
    moved[:, :3] -= sensor_m
    view = in_view(moved)
    values: dict[str, float] = {}
    if is_full_turn(moved):
        values[FULL_POINTS] = len(moved)
        values[FULL_ROWS] = elevation_rows(moved)
        values[FULL_GROUND] = float(ground_mask(moved).mean())
    values[VIEW_POINTS] = int(view.sum())
    values[STEP] = math.degrees(azimuth_step(moved))
    if view.any():
        values[VIEW_ROWS] = elevation_rows(moved[view])
        values[VIEW_GROUND] = float(ground_mask(moved[view]).mean())
        values |= {f"active voxels, {stage}": n for stage, n in active_voxels(moved[view]).items()}
    return values


def _car_values(cars: list[Cars]) -> tuple[dict[str, float], dict[str, int]]:
    if not cars:
        return {}, {}
    everything = join(cars)
    is_counted = everything.is_ahead & (everything.distances_m < DISTANCE_EDGES_M[-1])
    values: dict[str, float] = {CARS: float(is_counted.sum()) / len(cars)}
    counts: dict[str, int] = {}
    for low, high in pairwise(DISTANCE_EDGES_M):
        is_there = (everything.distances_m >= low) & (everything.distances_m < high)
        chosen = everything.points[is_there & everything.is_ahead]
        if len(chosen):
            row = f"points per car, {low}-{high} m"
            values[row], counts[row] = float(np.median(chosen)), len(chosen)
    if len(everything.points):
        for column, what in enumerate(("length", "width", "height")):
            sizes = everything.sizes_m[:, column]
            values[f"car {what}, mean (m)"] = float(sizes.mean())
            values[f"car {what}, std (m)"] = float(sizes.std())
    return values, counts


FULL_POINTS, VIEW_POINTS = "points, full turn", "points, in view"
FULL_ROWS, VIEW_ROWS = "elevation rows, full turn", "elevation rows, in view"
FULL_GROUND, VIEW_GROUND = "ground share, full turn", "ground share, in view"
STEP = "azimuth step (degrees)"
SCAN_ROWS = (
    *(FULL_POINTS, VIEW_POINTS, FULL_ROWS, VIEW_ROWS, STEP, FULL_GROUND, VIEW_GROUND),
    *(f"active voxels, {stage}" for stage in STAGES),
)
CARS = "cars in view within 70 m, mean"
CAR_ROWS = (
    CARS,
    *(f"points per car, {low}-{high} m" for low, high in pairwise(DISTANCE_EDGES_M)),
    *(f"car {what}, {kind} (m)" for what in ("length", "width", "height") for kind in ("mean", "std")),
)
ALL_ROWS = ("frames", *SCAN_ROWS, *CAR_ROWS)
