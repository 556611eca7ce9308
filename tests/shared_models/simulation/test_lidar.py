from __future__ import annotations

import numpy as np
import pytest

from shared_models.simulation.lidar import GLASS_ABSORBS, GLASS_RETURNS, make_rays, scan, shade_of
from shared_models.simulation.materials import Material, SemanticClass
from shared_models.simulation.mesh import boxes, joined, quads, surface
from shared_models.simulation.raycast import RayScene
from shared_models.simulation.sensors import SENSORS, sensor_of, weather_of

KITTI = sensor_of("kitti")


def wall_at(x: float, material: Material = Material.PLASTER):
    face = quads([(x, -50, -50), (x, 50, -50), (x, 50, 50), (x, -50, 50)])
    return surface(face, material, SemanticClass.WALL)


def ahead(count: int = 64):
    """Rays of the columns around straight ahead."""
    chosen = np.zeros((KITTI.beams, KITTI.columns), dtype=bool)
    chosen[:, KITTI.columns // 2 - count // 2 : KITTI.columns // 2 + count // 2] = True
    return make_rays(KITTI, np.zeros(3), 0.0, chosen)


def look(*meshes, weather: str = "clear", rays=None):
    scenes = (RayScene(joined(list(meshes))),)
    return scan(scenes, rays or ahead(), np.eye(4), KITTI, weather_of(weather), np.random.default_rng(0))


@pytest.mark.parametrize("name", SENSORS)
def test_beams_and_columns_cover_the_field_of_view(name):
    sensor = SENSORS[name]
    elevation = np.rad2deg(sensor.elevations_rad())
    assert len(elevation) == 64
    np.testing.assert_allclose([elevation[-1], elevation[0]], sensor.elevation_deg)
    assert (np.diff(elevation) < 0).all()
    azimuth = sensor.azimuths_rad()
    assert (np.diff(azimuth) < 0).all()
    assert np.ptp(azimuth) == pytest.approx(2 * np.pi * (1 - 1 / sensor.columns))


def test_ranges_scatter_around_the_truth_in_steps():
    found = look(wall_at(20.0))
    rays = ahead()
    distance = np.linalg.norm(found.points[:, :3] - rays.origins[found.ray], axis=1)
    error = distance - 20.0 / rays.directions[found.ray, 0]
    assert 0.8 * KITTI.noise_m < error.std() < 1.2 * KITTI.noise_m
    assert np.abs(error).max() < 2.5 * KITTI.noise_m + KITTI.step_m
    assert abs(error.mean()) < 0.001
    assert np.abs(distance / KITTI.step_m - np.round(distance / KITTI.step_m)).max() < 0.02


def test_dark_and_distant_walls_lose_points():
    counts = [
        len(look(wall_at(x, m)).points)
        for x, m in ((20, Material.PLASTER), (90, Material.PLASTER), (90, Material.RUBBER))
    ]
    assert counts[0] > 0.95 * len(ahead().directions)
    assert counts[0] > counts[1] > 2 * counts[2]


def test_incidence_takes_points():
    straight = look(wall_at(60.0))
    face = quads([(5, -3, -1.73), (5, 3, -1.73), (300, 3, -1.73), (300, -3, -1.73)])
    floor = look(surface(face, Material.PLASTER, SemanticClass.ROAD))
    grazed = np.linalg.norm(floor.points[:, :3], axis=1) > 50
    hit = floor.reach_m > 50
    hit &= floor.reach_m < 70
    assert grazed[np.linalg.norm(floor.points[:, :3], axis=1) < 70].sum() / hit.sum() < len(straight.points) / len(
        straight.reach_m
    )


def test_glass_returns_absorbs_or_lets_through():
    found = look(wall_at(10.0, Material.GLASS), wall_at(12.0))
    total = len(found.reach_m)
    on_glass, beyond = (found.points[:, 0] < 11).sum() / total, (found.points[:, 0] > 11).sum() / total
    assert 0.3 * GLASS_RETURNS < on_glass <= 1.3 * GLASS_RETURNS
    assert beyond == pytest.approx(1 - GLASS_RETURNS - GLASS_ABSORBS, abs=0.08)


def test_the_sensors_motion_moves_its_origin_but_not_the_world():
    """A post behind the vehicle is seen half a turn late or early, and stays where it is."""
    rays = make_rays(KITTI, np.array([10.0, 0, 0]), 0.0)
    assert rays.origins[:, 0].max() == pytest.approx(0.5, abs=0.01)
    post = surface(boxes([(-15, 0, 0)], [(0.4, 0.4, 6)]), Material.PLASTER, SemanticClass.POLE)
    found = look(post, rays=rays)
    assert len(found.points) > 20
    assert (np.abs(found.points[:, 0] + 15) < 0.25).all()


def test_rain_shows_drops_before_the_wall():
    found = look(wall_at(60.0), weather="rain")
    drops = found.semantic == SemanticClass.NOISE
    assert 0 < drops.sum() < 0.05 * len(drops)
    assert np.median(found.points[drops, 0]) < 15


def test_an_empty_world_gives_an_empty_scan():
    found = look(surface(np.zeros((0, 3, 3)), Material.ASPHALT, SemanticClass.ROAD))
    assert found.points.shape == (0, 4)


def test_each_number_has_its_own_shade():
    shades = shade_of(np.arange(10_000))
    assert -1 <= shades.min() < -0.99
    assert 0.99 < shades.max() < 1
    assert abs(shades.mean()) < 0.02
