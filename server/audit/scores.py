"""The one place where reconstructions meet the truth: every measure of one scene, and of all together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from server.audit import point_measures as measures
from server.audit.attack import Reconstruction
from server.audit.intervals import Estimate, IntervalConfig, estimate
from server.audit.scenes import SceneTruth
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.geometry.boxes import points_in_boxes_mask
from shared_models.records import check

# What a higher number means: +1 more came back, -1 less did.
BETTER_FOR_ATTACKER: Final[Mapping[str, int]] = {
    "chamfer": -1,
    "hausdorff": -1,
    "f_score": 1,
    "precision": 1,
    "recall": 1,
    "voxel_iou": 1,
    "psnr": 1,
    "verbatim": 1,
    "ground_cell": 1,
    "found": 1,
    "ap_": 1,
    "auc": 1,
    "tpr": 1,
    "accuracy": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureConfig:
    """Which measures.

    thresholds_m: of F-score, precision and recall. voxels_m: sides of the cubes of the voxel IoU.
    bands_m: borders between bands of horizontal distance from the sensor, the last reaching to infinity.
    above_m: points higher than this count as above the ground, metres in the LiDAR frame. The ground, three quarters of
        a scan, is alike everywhere: a guess that never looks at the scene finds much of it.
    class_names: objects whose points are also measured on their own, in the dataset's words.
    headline: the measure by which scenes are ranked.
    """

    thresholds_m: tuple[float, ...] = (0.1, 0.2, 0.5)
    voxels_m: tuple[float, ...] = (0.1, 0.2, 0.4)
    bands_m: tuple[float, ...] = (20.0, 40.0)
    above_m: float = -1.3
    class_names: tuple[str, ...] = ("Car", "Pedestrian", "Cyclist")
    headline: str = "f_score_0.2m"

    def __post_init__(self) -> None:
        check.entries("MeasureConfig", 16, thresholds_m=self.thresholds_m)
        check.entries("MeasureConfig", 16, voxels_m=self.voxels_m)
        check.number("MeasureConfig", "thresholds_m", self.thresholds_m, 1e-3, 100)
        check.number("MeasureConfig", "voxels_m", self.voxels_m, 1e-3, 100)
        check.number("MeasureConfig", "bands_m", self.bands_m, 0, 10_000)
        check.number("MeasureConfig", "above_m", self.above_m, -100, 100)
        check.distinct_names("MeasureConfig", "class_names", self.class_names, 64)

    @property
    def bands(self) -> tuple[tuple[str, float, float], ...]:
        """(name, from, to) of each band, metres."""
        borders = (0.0, *self.bands_m, math.inf)
        return tuple((f"{low:g}-{high:g}m", low, high) for low, high in pairwise(borders))


DEFAULT_MEASURES = MeasureConfig()


def score_scene(
    truth: SceneTruth, found: Reconstruction, geometry: CutGeometry, config: MeasureConfig = DEFAULT_MEASURES
) -> dict[str, float]:
    """All measures of one scene by name; NaN where the scene has nothing of a class or band.

    Points of the reconstruction outside the range count as they are; the truth is inside the range by construction.
    """
    low = np.asarray(geometry.point_range_m[:3])
    d = measures.nearest(truth.points, found.points, peak_of(geometry))
    numbers = {
        "points": float(len(found.points)),
        "chamfer_m": measures.chamfer_m(d),
        "hausdorff_m": measures.hausdorff_m(d),
        "hausdorff_95_m": measures.hausdorff_m(d, 0.95),
        "psnr_d1_db": measures.psnr_d1_db(d),
        "verbatim_share": measures.recall(d, 0.0),
        **_shares(d, config),
    }
    for size in config.voxels_m:
        numbers[f"voxel_iou_{size:g}m"] = measures.voxel_iou(truth.points, found.points, size, low)
    numbers |= _ground_cells(truth, found, geometry)
    above = [points[:, 2] > config.above_m for points in (truth.points, found.points)]
    numbers |= _named("above_ground", d.chosen(*above), config)
    numbers |= _of_classes(truth, found, d, config)
    return numbers | _of_bands(truth, found, d, config)


def peak_of(geometry: CutGeometry) -> float:
    """Diagonal of the range, metres: the largest distance that counts."""
    return math.dist(geometry.point_range_m[:3], geometry.point_range_m[3:])


def _shares(d: measures.Nearest, config: MeasureConfig) -> dict[str, float]:
    made = {"f_score": measures.f_score, "precision": measures.precision, "recall": measures.recall}
    return {f"{name}_{t:g}m": measure(d, t) for name, measure in made.items() for t in config.thresholds_m}


def _ground_cells(truth: SceneTruth, found: Reconstruction, geometry: CutGeometry) -> dict[str, float]:
    """Precision and recall of the uploaded layer's cells, seen from above: of those that an attack names or, where it
    names none of this size, of those that its points lie in."""
    low, size = np.asarray(geometry.point_range_m[:3]), geometry.cell_size_m[:2]
    if found.cells is not None and found.cell_size_m is not None and found.cell_size_m[:2] == size:
        named = np.unique(found.cells[:, :2], axis=0)
    else:
        named = measures.occupied_cells(found.points, size, low)
    precision, recall = measures.cell_shares(measures.occupied_cells(truth.points, size, low), named)
    return {"ground_cell_precision": precision, "ground_cell_recall": recall}


def _of_classes(
    truth: SceneTruth, found: Reconstruction, d: measures.Nearest, config: MeasureConfig
) -> dict[str, float]:
    """Shares over the points inside the truth's boxes of each class; distances are to the whole other cloud."""
    numbers: dict[str, float] = {}
    for name in config.class_names:
        boxes = truth.boxes[[index for index, own in enumerate(truth.class_names) if own == name]]
        inside = [points_inside(points, boxes) for points in (truth.points, found.points)]
        numbers |= _named(f"class/{name}", d.chosen(*inside), config)
    return numbers


def _of_bands(truth: SceneTruth, found: Reconstruction, d: measures.Nearest, config: MeasureConfig) -> dict[str, float]:
    reach = [np.hypot(points[:, 0], points[:, 1]) for points in (truth.points, found.points)]
    numbers: dict[str, float] = {}
    for name, low, high in config.bands:
        inside = [(each >= low) & (each < high) for each in reach]
        numbers |= _named(f"band/{name}", d.chosen(*inside), config)
    return numbers


def _named(prefix: str, d: measures.Nearest, config: MeasureConfig) -> dict[str, float]:
    """Shares and Chamfer distance of a part; NaN where the truth has no point in it."""
    numbers = {**_shares(d, config), "chamfer_m": measures.chamfer_m(d)}
    if len(d.from_truth) == 0:
        numbers = dict.fromkeys(numbers, math.nan)
    return {f"{prefix}/{name}": value for name, value in numbers.items()}


def points_inside(points: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(N,) which points (N, 3 or more) lie in at least one of the boxes (M, 7)."""
    if len(points) == 0 or len(boxes) == 0:
        return np.zeros(len(points), bool)
    positions = torch.from_numpy(np.ascontiguousarray(points[:, :3], np.float32))
    inside = points_in_boxes_mask(positions, torch.from_numpy(np.ascontiguousarray(boxes, np.float32)))
    return np.asarray(inside.any(1).numpy())


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneScore:
    """The numbers of one scene by name."""

    scene_id: str
    numbers: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All scenes together.

    estimates: mean and interval of each measure. ranked: names of the scenes, most restored first, by the headline.
    """

    estimates: Mapping[str, Estimate]
    ranked: tuple[str, ...]


def summarise(
    scores: Sequence[SceneScore],
    intervals: IntervalConfig,
    seed: int,
    headline: str = DEFAULT_MEASURES.headline,
    drives: Sequence[str] = (),
) -> Summary:
    """Means, intervals and ranking of scenes. The same drives are drawn for every measure that all scenes have.

    drives: of each scene; without any, each scene is a drive of its own.
    """
    names = dict.fromkeys(name for score in scores for name in score.numbers)
    estimates = {
        name: estimate([score.numbers.get(name, math.nan) for score in scores], intervals, seed, drives)
        for name in names
    }
    sign = direction_of(headline)
    ranked = sorted(scores, key=lambda score: _rank(score.numbers.get(headline, math.nan), sign))
    return Summary(estimates=estimates, ranked=tuple(score.scene_id for score in ranked))


def _rank(value: float, sign: int) -> float:
    """Scenes without a number come last."""
    return math.inf if math.isnan(value) else -sign * value


def direction_of(name: str) -> int:
    """+1 where a higher number means that more came back, -1 where less did, 0 where it says neither."""
    last = name.rpartition("/")[2]
    return next((sign for word, sign in BETTER_FOR_ATTACKER.items() if last.startswith(word)), 0)


def random_points(count: int, geometry: CutGeometry, seed: int) -> Reconstruction:
    """A floor: `count` points anywhere in the range, uniformly."""
    low, high = np.asarray(geometry.point_range_m[:3]), np.asarray(geometry.point_range_m[3:])
    drawn = np.random.default_rng(seed).uniform(low, high, (count, 3))
    return Reconstruction(points=drawn.astype(np.float32))


def scored(
    pairs: Iterable[tuple[SceneTruth, Reconstruction]], geometry: CutGeometry, config: MeasureConfig = DEFAULT_MEASURES
) -> list[SceneScore]:
    """`score_scene` of each pair."""
    return [
        SceneScore(scene_id=truth.scene_id, numbers=score_scene(truth, found, geometry, config))
        for truth, found in pairs
    ]
