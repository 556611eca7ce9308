"""Features turned or scaled in the plane, by bilinear interpolation between cells."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from server.training.augment import AppliedTransform
from server.training.features.geometry import FeatureMap
from server.training.features.scene import FeatureScan, moved_keypoints
from shared_models.records import GridFeatures
from shared_models.sparse.sites import coords_from_keys

_LEAST_WEIGHT = 1e-4  # below it a neighbour is the rounding error of a position


def warp_scan(scan: FeatureScan, transform: AppliedTransform, feature_map: FeatureMap) -> FeatureScan:
    """Cells interpolated, keypoints and boxes moved exactly."""
    grid = warp_cells(scan.features.grid, transform, feature_map)
    return scan.changed(grid, moved_keypoints(scan.features.keypoints, transform), transform.truth(scan.truth))


def warp_cells(grid: GridFeatures, transform: AppliedTransform, feature_map: FeatureMap) -> GridFeatures:
    """Each slice seen from above, moved by `transform` in x and y; slices stay apart, and outside the map is zero.

    A cell becomes active where one of the four cells around the place that it came from was. The dense map is never
    made: only the numbers of its cells.
    """
    if transform.is_identity or len(grid) == 0:
        return grid
    depth, height, width = grid.shape
    cells, weights = _sources(transform, feature_map, grid.features.device)
    row_of = torch.full((depth * height * width,), -1, dtype=torch.int64, device=grid.coords.device)
    row_of[grid.keys()] = torch.arange(len(grid), device=grid.coords.device)
    rows = row_of.view(depth, height * width)[:, cells]  # (D, H * W, 4)
    weights = torch.where(rows >= 0, weights, 0.0)
    keys = (weights > 0).any(2).flatten().nonzero().squeeze(1)
    rows, weights = (t.flatten(0, 1)[keys] for t in (rows.clamp(min=0), weights))
    features = F.embedding_bag(
        rows, grid.features, per_sample_weights=weights.to(grid.features.dtype), mode="sum"
    )  # the weighted sum of four rows, in one pass
    return GridFeatures(
        coords=coords_from_keys(keys, grid.shape)[:, 1:].contiguous(), features=features, shape=grid.shape
    )


def _sources(transform: AppliedTransform, feature_map: FeatureMap, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of every cell seen from above: the four cells around the place that it comes from, and their weights.

    Gives (H * W, 4) int64 row-major numbers and (H * W, 4) float32, 0 for cells outside the map.
    """
    _, height, width = feature_map.shape
    first, step = np.array(feature_map.first_m[:2]), np.array(feature_map.step_m[:2])
    row, column = np.divmod(np.arange(height * width), width)
    xyz = np.zeros((height * width, 3))
    xyz[:, :2] = first + np.stack((column, row), axis=1) * step
    position = (transform.inverse.points(xyz)[:, :2] - first) / step  # type: ignore[arg-type]  # float64 as well
    low = np.floor(position)
    part = position - low
    cells, weights = [], []
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = low[:, 0] + right, low[:, 1] + down
        weight = abs(1 - right - part[:, 0]) * abs(1 - down - part[:, 1])
        is_used = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (weight > _LEAST_WEIGHT)
        cells.append(np.where(is_used, y * width + x, 0).astype(np.int64))
        weights.append(np.where(is_used, weight, 0).astype(np.float32))
    stacked = torch.from_numpy(np.stack(cells, axis=1)), torch.from_numpy(np.stack(weights, axis=1))
    return stacked[0].to(device), stacked[1].to(device)
