from __future__ import annotations

import numpy as np

from shared_models.simulation.materials import Material, SemanticClass
from shared_models.simulation.mesh import boxes, joined, pose, surface
from shared_models.simulation.raycast import RayScene, cast_at


def nearest_by_hand(corners: np.ndarray, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Moeller and Trumbore's test, triangle by triangle, in double precision."""
    found = np.full(len(origins), np.inf)
    for a, b, c in corners.astype(np.float64):
        edge, other = b - a, c - a
        across = np.cross(directions, other)
        determinant = across @ edge
        determinant = np.where(np.abs(determinant) < 1e-12, np.nan, determinant)
        offset = origins - a
        u = (offset * across).sum(axis=1) / determinant
        turned = np.cross(offset, edge)
        v = (directions * turned).sum(axis=1) / determinant
        distance = turned @ other / determinant
        is_hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 0)
        found = np.where(is_hit & (distance < found), distance, found)
    return found


def test_hits_are_those_of_the_obvious_way():
    generator = np.random.default_rng(0)
    corners = generator.normal(size=(60, 1, 3)) * 4 + generator.normal(size=(60, 3, 3))
    directions = generator.normal(size=(500, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    origins = generator.normal(size=(500, 3)) * 0.1
    scene = RayScene(surface(corners, Material.BRICK, SemanticClass.WALL))
    hits = scene.cast(origins.astype(np.float32), directions.astype(np.float32))
    expected = nearest_by_hand(scene.mesh.corners, origins, directions)
    assert 50 < np.isfinite(expected).sum() < 450
    # a ray along an edge may fall on either side of it
    agree = np.isclose(hits.distance_m, expected, rtol=1e-4, atol=1e-4)
    assert agree.mean() > 0.995
    blocked = scene.is_blocked(origins.astype(np.float32), directions.astype(np.float32))
    np.testing.assert_array_equal(blocked, np.isfinite(hits.distance_m))


def test_the_nearer_of_two_scenes_is_seen_and_told():
    near = surface(boxes([(5, 0, 0)], [(1, 1, 1)]), Material.WOOD, SemanticClass.FENCE).of_instance(3)
    far = surface(boxes([(9, 0, 0)], [(1, 4, 1)]), Material.BRICK, SemanticClass.WALL)
    origins, directions = np.zeros((3, 3), np.float32), np.float32([[1, 0, 0], [0.985, 0.1725, 0], [-1, 0, 0]])
    hits = cast_at((RayScene(far), RayScene(near)), origins, directions)
    assert hits.instance.tolist() == [3, 0, 0]
    assert hits.material[:2].tolist() == [Material.WOOD, Material.BRICK]
    np.testing.assert_allclose(hits.distance_m, [4.5, 8.5 / 0.985, np.inf], rtol=1e-5)
    np.testing.assert_allclose(hits.normal[:2], [[-1, 0, 0], [-1, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(hits.cosine[:2], [1, 0.985], atol=1e-3)


def test_a_mesh_is_moved_as_its_pose_says():
    mesh = surface([[(1, 0, 0), (1, 1, 0), (1, 0, 1)]], Material.WOOD, SemanticClass.WALL)
    (moved,) = joined([mesh]).placed(pose(10, 20, 30, np.pi / 2)).corners
    np.testing.assert_allclose(moved, [(10, 21, 30), (9, 21, 30), (10, 21, 31)], atol=1e-6)


def test_no_triangles_and_no_rays():
    empty = RayScene(surface(np.zeros((0, 3, 3)), Material.WOOD, SemanticClass.WALL))
    assert np.isinf(empty.cast(np.zeros((2, 3), np.float32), np.float32([[1, 0, 0]] * 2)).distance_m).all()
    full = RayScene(surface(boxes([(0, 0, 0)], [(1, 1, 1)]), Material.WOOD, SemanticClass.WALL))
    assert len(full.cast(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))) == 0
