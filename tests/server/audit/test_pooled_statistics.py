"""Statistics of cells and points, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from server.audit.pooled_statistics import StatisticsConfig, grid_statistics, point_statistics
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.records import GridFeatures

CONFIG = StatisticsConfig(rings=2, reach_m=40.0)


def grid_of(coords: list[list[int]], features: list[list[float]]) -> GridFeatures:
    return GridFeatures(
        coords=torch.tensor(coords, dtype=torch.int32).reshape(-1, 3),
        features=torch.tensor(features, dtype=torch.float32).reshape(-1, 2),
        shape=(2, 200, 176),
    )


def test_cells_by_hand(geometry: CutGeometry) -> None:
    # Columns of 0.4 m from (0, -40): cell (0, 100, 10) is 4 m ahead, (1, 100, 100) 40 m ahead.
    found = grid_statistics(grid_of([[0, 100, 10], [1, 100, 100]], [[1, 0], [3, 0]]), geometry, CONFIG)
    moments = [2, 0, 1, 0, 1, 0]
    assert found.tolist() == pytest.approx([*moments, np.log(3), 0.5, 0.5, 0.5, 0.5])


def test_points_by_hand() -> None:
    points = np.array([[1, 0, -1, 0.2], [30, 0, 3, 0.4]], np.float32)
    found = point_statistics(points, CONFIG)
    assert found[:6].tolist() == pytest.approx([1, 0.3, 2, 0.1, 0.5, 1])
    assert found[10:12].tolist() == pytest.approx([1, 0.3])  # medians
    assert found[-3:].tolist() == pytest.approx([np.log(3), 0.5, 0.5])


def test_an_empty_scene_has_a_row_too(geometry: CutGeometry) -> None:
    full, none = grid_of([[0, 1, 1]], [[1, 1]]), grid_of([], [])
    assert grid_statistics(none, geometry).shape == grid_statistics(full, geometry).shape
    assert np.isfinite(grid_statistics(none, geometry)).all()
    assert point_statistics(np.zeros((0, 4), np.float32)).shape == point_statistics(np.ones((3, 4), np.float32)).shape
