from __future__ import annotations

import math

import numpy as np
import pytest

from shared_models.datasets.pandaset import PandasetDataset
from shared_models.datasets.sensor_positions import sensor_position
from shared_models.statistics.rings import azimuth_step, elevation_rows


def sphere(beams: int, columns: int, low_deg: float = -20, high_deg: float = 5) -> np.ndarray:
    """Every beam of a sensor inside a sphere of 20 m, with 1 cm noise."""
    generator = np.random.default_rng(0)
    azimuth = (np.arange(columns) + 0.5) * 2 * math.pi / columns - math.pi
    elevation = np.radians(np.linspace(low_deg, high_deg, beams))
    a, e = (grid.ravel() for grid in np.meshgrid(azimuth, elevation))
    distance = 20 + generator.normal(0, 0.01, len(a))
    xyz = distance[:, None] * np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=1)
    return xyz[generator.permutation(len(xyz))].astype(np.float32)


@pytest.mark.parametrize(("beams", "columns"), [(64, 2083), (32, 1085), (64, 1250)])
def test_beams_and_columns_are_found_in_points_of_any_order(beams, columns):
    points = sphere(beams, columns)
    assert elevation_rows(points) == beams
    assert math.degrees(azimuth_step(points)) == pytest.approx(360 / columns, rel=0.01)


def test_nothing_gives_nothing():
    empty = np.empty((0, 4), np.float32)
    assert elevation_rows(empty) == 0
    assert math.isnan(azimuth_step(empty))


@pytest.mark.data
def test_a_real_sensor_with_64_beams(shared_data):
    points = PandasetDataset(shared_data("pandaset_002")).frame("30").points
    points[:, :3] -= sensor_position("pandaset")
    assert 60 <= elevation_rows(points) <= 64
    assert math.degrees(azimuth_step(points)) == pytest.approx(0.2, rel=0.02)
