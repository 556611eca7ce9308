"""F-GT: ground-truth sampling on features, the augmentation of UpCycling.

Source: S. Hwang et al., "UpCycling: Semi-supervised 3D Object Detection without Sharing Raw-level Unlabeled Scenes",
ICCV 2023. The abstract names it; how cells and keypoints are chosen and exchanged is a reading, and every choice is a
setting here or of the bank. Objects are never moved, so that nothing is interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from server.training.array_geometry import overlaps_bev
from server.training.feature_augment import FeatureAugmentation
from server.training.features.geometry import Footprints
from server.training.features.object_bank import FeatureBank
from server.training.features.pasting import paste_cells, paste_keypoints
from server.training.features.scene import FeatureScan
from server.training.object_drawing import draw_objects, free_of_collisions
from server.training.samples import Truth
from shared_models.errors import InvalidValueError
from shared_models.records import GridFeatures, SetFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureGroundTruthConfig:
    """How many objects are put in, and when they collide.

    numbers: objects to draw per class, in the order of the detector's classes; classes beyond get none. Default:
        OpenPCDet's for raw points on KITTI with PV-RCNN; for SECOND-IoU it takes 20, 15, 15 capped.
    is_capped: `numbers` counts what the scene already holds of the class, so that only the rest is drawn.
    avoids_ignored: an object may not cover an ignored box either. Otherwise ignored boxes that it covers are removed.
    """

    numbers: tuple[int, ...] = (15, 10, 10)
    is_capped: bool = False
    avoids_ignored: bool = True

    def __post_init__(self) -> None:
        check.count("FeatureGroundTruthConfig", "numbers", self.numbers, 1000, 0)


class FeatureGroundTruth(FeatureAugmentation):
    """Puts features of labelled objects at their own place into a scene.

    A drawn object that overlaps, seen from above, a box of the scene or one put in before is left out. Cells and
    keypoints of the scene in its box are removed, so that grid and set show the same objects.
    """

    def __init__(self, config: FeatureGroundTruthConfig, bank: FeatureBank) -> None:
        self.config, self.bank = config, bank

    def apply(self, scan: FeatureScan, rng: np.random.Generator) -> FeatureScan:
        return self.inserted(scan, self.chosen(scan.truth, rng), rng)

    def chosen(self, truth: Truth, rng: np.random.Generator) -> NDArray[np.int64]:
        """Rows of the bank: drawn, and those among them that collide with nothing and find a column of their own."""
        drawn = draw_objects(self.bank, self.config.numbers, rng, truth.labels if self.config.is_capped else None)
        obstacles = truth.boxes if self.config.avoids_ignored else truth.boxes[~truth.is_ignored]
        free = drawn[free_of_collisions(obstacles, self.bank.boxes[drawn])]
        return free[np.unique(self._owned(obstacles, self.bank.boxes[free]).owners)]

    def inserted(self, scan: FeatureScan, rows: NDArray[np.int64], rng: np.random.Generator) -> FeatureScan:
        """The scan with these rows of the bank put in; that they collide with nothing is the caller's part.

        Ignored boxes that an inserted one covers are removed, the others stay; the inserted ones are exact.

        Raises:
            BackboneMismatchError: the scan's features come from another backbone than the bank's.
            InvalidValueError: it has keypoints, and the bank was made without.
        """
        self._check(scan)
        if not len(rows):
            return scan
        boxes = self.bank.boxes[rows]
        ignored = np.flatnonzero(scan.truth.is_ignored)
        is_free = np.ones(len(scan.truth), dtype=bool)
        is_free[ignored] = ~overlaps_bev(scan.truth.boxes[ignored], boxes).any(axis=1)
        truth = scan.truth.chosen(is_free)
        return scan.changed(
            self._grid(scan.features.grid, truth.boxes, rows),
            self._keypoints(scan.features.keypoints, rows, rng),
            truth.joined(Truth.exact(boxes, self.bank.labels[rows])),
        )

    def _check(self, scan: FeatureScan) -> None:
        bank, grid = self.bank, scan.features.grid
        bank.require_backbone(scan.features.backbone_hash, f"scene {scan.scene_id}")
        came = (grid.shape, grid.features.shape[1])
        if came != (bank.feature_map.shape, bank.features.shape[1]):
            raise InvalidValueError(
                f"scene {scan.scene_id}: map and channels {came}, the feature bank has "
                f"{(bank.feature_map.shape, bank.features.shape[1])}"
            )
        if scan.features.keypoints is not None and not bank.keypoint_count:
            raise InvalidValueError(
                f"scene {scan.scene_id} has keypoints, and the feature bank was made without; build it with the same "
                f"detector"
            )

    def _grid(self, grid: GridFeatures, scene: NDArray[np.float32], rows: NDArray[np.int64]) -> GridFeatures:
        owned = self._owned(scene, self.bank.boxes[rows])
        owners, cells = self.bank.cells_of(rows)
        coords = self.bank.coords[cells]
        numbers = coords[:, 1].astype(np.int64) * grid.shape[2] + coords[:, 2]
        owner_of = np.full(self.bank.feature_map.cells_bev, -1, dtype=np.int64)
        owner_of[owned.cells] = owned.owners
        is_own = owner_of[numbers] == owners
        device = grid.features.device
        return paste_cells(
            grid,
            torch.from_numpy(owned.cells).to(device),
            torch.from_numpy(coords[is_own]).to(device),
            torch.from_numpy(self.bank.features[cells[is_own]]).to(device),
        )

    def _owned(self, scene: NDArray[np.float32], boxes: NDArray[np.float32]) -> Footprints:
        """Columns that each inserted object replaces.

        Boxes do not overlap, but margins and the columns of small objects may: a column whose centre is in a box
        belongs to that box, and any other one to the first object that wants it.
        """
        own = self.bank.feature_map.footprints(boxes)
        taken = self.bank.feature_map.footprints(scene)
        wide = self.bank.footprints(boxes)
        return own.joined(wide.chosen(~np.isin(wide.cells, taken.cells))).owned_once()

    def _keypoints(
        self, keypoints: SetFeatures | None, rows: NDArray[np.int64], rng: np.random.Generator
    ) -> SetFeatures | None:
        if keypoints is None:
            return None
        bank, device = self.bank, keypoints.positions.device
        chosen = bank.keypoints_of(rows)[1]
        objects = SetFeatures(
            positions=torch.from_numpy(bank.positions[chosen]).to(device),
            features=torch.from_numpy(bank.keypoint_features[chosen]).to(device).float(),
        )
        # A scene without any point has no keypoints; with objects in it, it gets as many as any other.
        return paste_keypoints(keypoints, bank.boxes[rows], objects, len(keypoints) or bank.keypoint_count, rng)
