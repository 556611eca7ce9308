"""How far features augmented directly are from features of augmented points.

Source: UpCycling, ICCV 2023, section 4 and supplement B.1: RMSE(A) = sqrt(mean((f(A(P)) - A_feature(f(P)))^2)) of a
scene's points P. Its order is flip > rotation > ground-truth sampling. Over which cells the mean goes is not stated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.training.augment import AppliedTransform
from server.training.augmentations.ground_truth_sampling import GroundTruthSampling, GroundTruthSamplingConfig
from server.training.features.extraction import extract_points, extract_scan
from server.training.features.feature_ground_truth import FeatureGroundTruth, FeatureGroundTruthConfig
from server.training.features.flip import Mapping, flip_scan
from server.training.features.geometry import FeatureMap
from server.training.features.object_bank import FeatureBank
from server.training.features.scene import FeatureScan
from server.training.features.warp import warp_scan
from server.training.ground_truth_database import GroundTruthDatabase
from server.training.samples import LabelledScan
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import ConfigError, InvalidValueError, UnknownNameError
from shared_models.records import GridFeatures, SceneFeatures, SetFeatures, check

MEASURED = ("flip", "rotation", "ground_truth")
Reduction = Literal["union", "all", "boxes"]
_KEYPOINTS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RmseConfig:
    """What is measured.

    reduction: the mean goes over cells that are active in one of the two ("union"), over the whole map ("all"), or over
        those of the union whose centre lies in a box, seen from above ("boxes").
    mapping: of the flip, as in `FeatureFlipConfig`.
    max_rad: the rotation is drawn evenly up to this to each side.
    numbers: objects to draw per class for ground-truth sampling.
    """

    reduction: Reduction = "union"
    mapping: Mapping = "exact"
    max_rad: float = math.pi / 4
    numbers: tuple[int, ...] = (15, 10, 10)

    def __post_init__(self) -> None:
        check.number("RmseConfig", "max_rad", self.max_rad, 0, math.pi)
        if self.reduction not in ("union", "all", "boxes"):
            raise InvalidValueError(f"RmseConfig.reduction: expected union, all or boxes, got {self.reduction!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureErrors:
    """Of one scene and one augmentation; not a number where there was nothing to compare.

    grid: RMSE of cells. keypoints: RMSE of keypoints, None for detectors without them.
    """

    grid: float
    keypoints: float | None


class RmseMeter:
    """Measures scenes with one detector."""

    def __init__(
        self,
        config: RmseConfig,
        detector: AnchorDetector,
        bank: FeatureBank | None = None,
        database: GroundTruthDatabase | None = None,
    ) -> None:
        """bank, database: for ground-truth sampling; made of the same frames, the bank with this detector.

        Raises:
            ConfigError: only one of the two is given, or the bank has objects that the database lacks.
            BackboneMismatchError: another backbone made the bank.
        """
        self.config, self.detector = config, detector
        self.feature_map = FeatureMap.of(detector.config.voxels)
        if (bank is None) != (database is None):
            raise ConfigError("RMSE of ground-truth sampling: give both the feature bank and the raw database")
        if bank is not None and database is not None:
            bank.require_backbone(detector.backbone_hash, "the detector that is measured")
            self._in_features = FeatureGroundTruth(FeatureGroundTruthConfig(numbers=config.numbers), bank)
            self._in_points = GroundTruthSampling(GroundTruthSamplingConfig(numbers=config.numbers), database)
            self._twins = _twins(bank, database)
        self.has_objects = bank is not None

    def measure(self, name: str, scan: LabelledScan, rng: np.random.Generator) -> FeatureErrors:
        """The errors of augmentation `name` ("flip", "rotation" or "ground_truth") on one scene.

        Raises:
            UnknownNameError: no such augmentation.
            ConfigError: ground-truth sampling without bank and database.
        """
        return self.measure_each(name, scan, rng, (self.config.reduction,))[self.config.reduction]

    def measure_each(
        self, name: str, scan: LabelledScan, rng: np.random.Generator, reductions: Sequence[Reduction]
    ) -> dict[Reduction, FeatureErrors]:
        """As `measure`, for several reductions of the same pair of features."""
        if name not in MEASURED:
            raise UnknownNameError("measured augmentation", name, MEASURED)
        raw, augmented = self._pair(name, scan, rng)
        expected = extract_points(raw.points, self.detector)
        return {reduction: self._compared(expected, augmented, reduction) for reduction in reductions}

    def _pair(self, name: str, scan: LabelledScan, rng: np.random.Generator) -> tuple[LabelledScan, FeatureScan]:
        """The scan augmented in its points, and in its features."""
        features = extract_scan(scan, self.detector)
        if name == "ground_truth":
            return self._with_objects(scan, features, rng)
        if name == "flip":
            transform = AppliedTransform(is_flipped_x=True)
            flipped = flip_scan(features, transform, self.feature_map, self.config.mapping)
            return transform.scan(scan), flipped
        transform = AppliedTransform(rotation_rad=float(rng.uniform(-self.config.max_rad, self.config.max_rad)))
        return transform.scan(scan), warp_scan(features, transform, self.feature_map)

    def _with_objects(
        self, scan: LabelledScan, features: FeatureScan, rng: np.random.Generator
    ) -> tuple[LabelledScan, FeatureScan]:
        if not self.has_objects:
            raise ConfigError("RMSE of ground-truth sampling needs the feature bank and the raw database")
        rows = self._in_features.chosen(scan.truth, rng)
        raw = self._in_points.inserted(scan, self._twins[rows])
        return raw, self._in_features.inserted(features, rows, rng)

    def _compared(self, expected: SceneFeatures, augmented: FeatureScan, reduction: Reduction) -> FeatureErrors:
        columns = None
        if reduction == "boxes":
            columns = self.feature_map.footprints(augmented.truth.boxes).cells
        grid = grid_rmse(expected.grid, augmented.features.grid, reduction, columns)
        if expected.keypoints is None or augmented.features.keypoints is None:
            return FeatureErrors(grid=grid, keypoints=None)
        return FeatureErrors(grid=grid, keypoints=set_rmse(expected.keypoints, augmented.features.keypoints))


def grid_rmse(
    expected: GridFeatures,
    got: GridFeatures,
    reduction: Reduction = "union",
    columns: NDArray[np.int64] | None = None,
) -> float:
    """RMSE over cells and channels; a cell that is active in one only is zero in the other.

    columns: (P,) row-major numbers, seen from above, of the cells of reduction "boxes".
    """
    (depth, height, width), channels = expected.shape, expected.features.shape[1]
    keys, place = torch.unique(torch.cat((expected.keys(), got.keys())), return_inverse=True)
    difference = expected.features.new_zeros((len(keys), channels))
    difference.index_copy_(0, place[: len(expected)], expected.features)
    difference.index_add_(0, place[len(expected) :], got.features, alpha=-1)
    if reduction == "boxes":
        inside = torch.zeros(height * width, dtype=torch.bool, device=keys.device)
        inside[torch.from_numpy(columns if columns is not None else np.empty(0, np.int64)).to(keys.device)] = True
        difference = difference[inside[keys % (height * width)]]
    count = depth * height * width if reduction == "all" else len(difference)
    return _root_mean(difference, count * channels)


def set_rmse(expected: SetFeatures, got: SetFeatures) -> float:
    """RMSE over keypoints and channels, each of `expected` against the nearest of `got`.

    Farthest-point sampling takes other points after a change of the scene, so that keypoints have no natural pairs.
    """
    if not len(expected) or not len(got):
        return math.nan
    pieces = expected.positions.split(_KEYPOINTS_AT_ONCE)
    exact = "donot_use_mm_for_euclid_dist"  # products would lose the last centimetres at 70 m
    nearest = torch.cat([torch.cdist(piece, got.positions, compute_mode=exact).argmin(1) for piece in pieces])
    return _root_mean(expected.features - got.features[nearest], expected.features.numel())


def _root_mean(difference: Tensor, count: int) -> float:
    return math.sqrt(float(difference.square().sum(dtype=torch.float64)) / count) if count else math.nan


def _twins(bank: FeatureBank, database: GroundTruthDatabase) -> NDArray[np.int64]:
    """(K,) for each object of the bank its row in the database."""
    rows = {
        (frame, box.tobytes()): row
        for row, (frame, box) in enumerate(zip(database.object_frames, database.boxes, strict=True))
    }
    names = [(frame, box.tobytes()) for frame, box in zip(bank.object_frames, bank.boxes, strict=True)]
    missing = next((frame for frame, box in names if (frame, box) not in rows), None)
    if missing is not None:
        raise ConfigError(
            f"RMSE of ground-truth sampling: an object of frame {missing} is in the feature bank and not in the raw "
            f"database; build both from the same frames with the same min_points"
        )
    return np.array([rows[name] for name in names], dtype=np.int64)
