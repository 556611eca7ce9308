"""Bodies of vehicles and people: inside their boxes, and more than boxes."""

from __future__ import annotations

import numpy as np
import pytest

from shared_models.errors import UnknownNameError
from shared_models.simulation.domains import DOMAINS, domain_of
from shared_models.simulation.materials import Material
from shared_models.simulation.people import cyclist, pedestrian, swung
from shared_models.simulation.raycast import RayScene
from shared_models.simulation.vehicle_shapes import BODIES, SLACK_M, car_mesh, truck_mesh

CAR = (4.2, 1.8, 1.5)


def fits(corners: np.ndarray, size: tuple[float, float, float]) -> bool:
    low, high = corners.reshape(-1, 3).min(axis=0), corners.reshape(-1, 3).max(axis=0)
    limit = np.array(size) / 2 + 1e-5
    return bool(
        (low[:2] >= -limit[:2]).all() and (high[:2] <= limit[:2]).all() and low[2] >= -1e-5 and high[2] <= size[2]
    )


@pytest.mark.parametrize("body", BODIES)
def test_a_car_fills_its_box_but_for_the_slack(body):
    corners = car_mesh(body, CAR).corners.reshape(-1, 3)
    assert fits(corners, CAR)
    np.testing.assert_allclose(np.ptp(corners, axis=0)[:2], np.array(CAR)[:2] - 2 * SLACK_M, atol=0.02)
    assert corners[:, 2].max() == pytest.approx(CAR[2] - 2 * SLACK_M, abs=0.02)


@pytest.mark.parametrize("size", [(6.0, 2.3, 2.8), (10.0, 2.5, 3.4)])
def test_a_truck_is_inside_its_box(size):
    assert fits(truck_mesh(size).corners, size)


@pytest.mark.parametrize("maker", [lambda s: pedestrian(s, True), lambda s: pedestrian(s, False), cyclist])
@pytest.mark.parametrize("size", [(0.6, 0.52, 1.6), (1.0, 0.9, 1.9)])
def test_limbs_move_and_stay_inside_the_box(maker, size):
    if maker is cyclist:
        size = (1.76, 0.66, 1.74)
    body = maker(size)
    shapes = [swung(body.mesh.corners, body.swing, np.full(len(body.mesh), phase)) for phase in np.linspace(0, 6, 9)]
    assert all(fits(shape, size) for shape in shapes)


def test_walking_moves_legs_and_arms():
    body = pedestrian((0.9, 0.6, 1.8), True)
    one, other = (swung(body.mesh.corners, body.swing, np.full(len(body.mesh), phase)) for phase in (0.0, 1.57))
    moved = np.abs(one - other).reshape(len(body.mesh), -1).max(axis=1) > 0.05
    assert 0.3 < moved.mean() < 0.95


def test_a_car_has_a_bonnet_a_cabin_windows_wheels_and_air_beneath():
    scene = RayScene(car_mesh("saloon", CAR))
    x = np.array([1.9, 1.6, 0.1, -1.9, 1.3, 0.0])
    down = scene.cast(up_from(x[:4], 5.0), np.tile(np.float32([0, 0, -1]), (4, 1)))
    heights = 5.0 - down.distance_m
    assert heights[2] > heights[1] + 0.3  # roof above bonnet
    assert heights[2] > heights[3] + 0.3  # and above the boot
    aside = scene.cast(
        np.float32([[0.3, 5, 1.2], [1.302, 5, 0.2], [0, 5, 0.08]]), np.tile(np.float32([0, -1, 0]), (3, 1))
    )
    assert aside.material[0] == Material.GLASS
    assert aside.material[1] == Material.RUBBER
    assert np.isinf(aside.distance_m[2])


def up_from(x: np.ndarray, height: float) -> np.ndarray:
    return np.stack([x, 0 * x + 0.1, 0 * x + height], axis=1).astype(np.float32)


def test_domains_differ_as_the_real_ones_do():
    """Difference of the mean car between Waymo and KITTI: J. Yang et al., ST3D, CVPR 2021."""
    generator = np.random.default_rng(0)
    sizes = {
        name: np.mean([d.sizes["Car"].draw(generator) for _ in range(4000)], axis=0) for name, d in DOMAINS.items()
    }
    np.testing.assert_allclose(sizes["usa"] - sizes["germany"], [0.91, 0.49, 0.26], atol=0.04)


def test_an_unknown_domain_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="germany, usa"):
        domain_of("france")
