"""Pictures of places: what they depend on, and on what they do not."""

from __future__ import annotations

import numpy as np
import pytest

from server.audit.polar import PolarConfig, polar_picture


def scene(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.uniform(-30, 30, (count, 2)), generator.uniform(0, 3, (count, 1))


def turned(positions: np.ndarray, angle_rad: float) -> np.ndarray:
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    return positions @ np.array([[cosine, sine], [-sine, cosine]])


def test_the_largest_value_of_each_ring_and_sector_counts() -> None:
    config = PolarConfig(rings=2, sectors=4, reach_m=10.0, is_turnable=False)
    # Both in the near ring, left ahead (third of four sectors from behind); the last is out of reach.
    positions = np.array([[1.0, 1.0], [2.0, 1.0], [-8.0, -1.0], [20.0, 0.0]])
    found = polar_picture(positions, np.array([[3.0], [1.0], [4.0], [9.0]]), config).reshape(2, 4)
    expected = np.zeros((2, 4))
    expected[0, 2], expected[1, 0] = 3 / 5, 4 / 5
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 7])
def test_turning_the_vehicle_does_not_change_the_picture(steps: int) -> None:
    config = PolarConfig(rings=8, sectors=36)
    positions, values = scene(0)
    there = polar_picture(turned(positions, steps * 2 * np.pi / 36), values, config)
    here, elsewhere = polar_picture(positions, values, config), polar_picture(*scene(1), config)
    np.testing.assert_allclose(here, there, atol=1e-5)
    assert np.linalg.norm(here - elsewhere) > 0.1
    plain = PolarConfig(rings=8, sectors=36, is_turnable=False)
    moved = polar_picture(turned(positions, steps * 2 * np.pi / 36), values, plain)
    assert np.linalg.norm(polar_picture(positions, values, plain) - moved) > 0.1


def test_units_do_not_matter_and_nothing_is_nothing() -> None:
    positions, values = scene(2)
    config = PolarConfig()
    both = np.concatenate((values, 1000 * values[::-1]), 1)
    np.testing.assert_allclose(
        polar_picture(positions, both, config), polar_picture(positions, both * [[1, 1e-3]], config), atol=1e-6
    )
    assert not polar_picture(positions[:0], values[:0], config).any()
