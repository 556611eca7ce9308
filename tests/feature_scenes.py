"""Random features of scenes and of labelled objects, made without a detector, for the tests of their augmentations."""

from __future__ import annotations

import numpy as np
import torch

from server.training.features.geometry import FeatureMap
from server.training.features.object_bank import FeatureBank, FeatureBankConfig
from server.training.features.scene import FeatureScan
from server.training.samples import Truth
from shared_models.records import GridFeatures, SceneFeatures, SetFeatures
from tests.labelled_scenes import SIZES_M

HASH = "0123456789abcdef" * 4
MAP = FeatureMap(shape=(2, 50, 44), first_m=(0.05, -19.95, -1.75), step_m=(0.8, 0.8, 1.6))
CHANNELS, KEYPOINT_CHANNELS = 6, 5


def make_grid(seed: int, density: float = 0.3, feature_map: FeatureMap = MAP, channels: int = CHANNELS) -> GridFeatures:
    """Active cells drawn with `density`, their features at least 0.1."""
    rng = np.random.default_rng(seed)
    cells = np.argwhere(rng.random(feature_map.shape) < density).astype(np.int32)
    features = rng.uniform(0.1, 1, (len(cells), channels)).astype(np.float32)
    return GridFeatures(coords=torch.from_numpy(cells), features=torch.from_numpy(features), shape=feature_map.shape)


def make_keypoints(seed: int, count: int = 300, channels: int = KEYPOINT_CHANNELS) -> SetFeatures:
    """Keypoints all over the map, below 1 m."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform((0, -20, -2), (35.2, 20, 1), (count, 3)).astype(np.float32)
    features = rng.random((count, channels), dtype=np.float32)
    return SetFeatures(positions=torch.from_numpy(positions), features=torch.from_numpy(features))


def make_truth(seed: int, count: int) -> Truth:
    """Pseudo boxes anywhere on the map, every third of them ignored."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    boxes = np.zeros((count, 7), np.float32)
    boxes[:, :3] = rng.uniform((2, -18, -1.2), (33, 18, -0.6), (count, 3))
    boxes[:, 3:6] = SIZES_M[labels]
    boxes[:, 6] = rng.uniform(-3, 3, count)
    no = np.zeros(count, dtype=bool)
    return Truth(boxes=boxes, labels=labels, is_ignored=np.arange(count) % 3 == 2, is_exact=no)


def make_feature_scan(seed: int = 0, boxes: int = 6, density: float = 0.3, keypoints: int | None = 300) -> FeatureScan:
    """A scene; keypoints = None for the features of a detector without them."""
    points = None if keypoints is None else make_keypoints(seed + 1, keypoints)
    features = SceneFeatures(
        grid=make_grid(seed, density), keypoints=points, split_layer="conv_out", backbone_hash=HASH
    )
    return FeatureScan(scene_id=f"scene{seed}", features=features, truth=make_truth(seed + 2, boxes))


def make_bank(
    seed: int = 100, objects: int = 40, margin_m: float = 0.0, keypoint_count: int = 300, dtype: str = "float32"
) -> FeatureBank:
    """Objects that may overlap each other, each of a frame of its own, half of their cells active."""
    truth, rng = make_truth(seed, objects), np.random.default_rng(seed)
    coords, positions = [], []
    for k in range(objects):
        covered = MAP.footprints(truth.boxes[k : k + 1], margin_m, includes_nearest=True).cells
        cells = np.stack((np.repeat((0, 1), len(covered)), *np.divmod(np.tile(covered, 2), MAP.shape[2])), axis=1)
        coords.append(cells[rng.random(len(cells)) < 0.5].astype(np.int32))
        box = truth.boxes[k]
        count = rng.integers(0, 6) if keypoint_count else 0
        positions.append((box[:3] + rng.uniform(-0.2, 0.2, (count, 3))).astype(np.float32))
    cell_offsets, keypoint_offsets = (np.cumsum([0, *map(len, parts)]) for parts in (coords, positions))
    return FeatureBank(
        frame_ids=frozenset(f"l{k}" for k in range(objects)),
        backbone_hash=HASH,
        split_layer="conv_out",
        feature_map=MAP,
        config=FeatureBankConfig(margin_m=margin_m, dtype=dtype),
        keypoint_count=keypoint_count,
        boxes=truth.boxes,
        labels=truth.labels,
        object_frames=tuple(f"l{k}" for k in range(objects)),
        coords=np.concatenate(coords),
        features=rng.uniform(2, 3, (cell_offsets[-1], CHANNELS)).astype(dtype),
        cell_offsets=cell_offsets,
        positions=np.concatenate(positions),
        keypoint_features=rng.uniform(2, 3, (keypoint_offsets[-1], KEYPOINT_CHANNELS)).astype(dtype),
        keypoint_offsets=keypoint_offsets,
    )


def dense(grid: GridFeatures) -> np.ndarray:
    """(D, H, W, C) float64, zero where inactive, by plain assignment."""
    result = np.zeros((*grid.shape, grid.features.shape[1]))
    for (z, y, x), row in zip(grid.coords.tolist(), grid.features.double().numpy(), strict=True):
        result[z, y, x] = row
    return result
