from __future__ import annotations

import math

import numpy as np
import pytest

from shared_models.records import ObjectLabels
from shared_models.simulation.annotate import Objects, Policy, annotate, upright_boxes
from shared_models.simulation.difficulty import difficulty_of
from shared_models.simulation.lidar import Rays, Scan
from shared_models.simulation.materials import Material, SemanticClass
from shared_models.simulation.mesh import boxes, surface
from shared_models.simulation.people import rigid
from shared_models.simulation.sensors import sensor_of
from shared_models.simulation.traffic import Actor, Places
from shared_models.simulation.viewpoint import make_camera


def actor(track_id: int, size=(4.0, 2.0, 1.5)) -> Actor:
    body = rigid(surface(boxes([(0, 0, size[2] / 2)], [size]), Material.PAINT, SemanticClass.CAR))
    return Actor(track_id=track_id, class_name="Car", size_m=size, body=body, s_m=0.0, d_m=0.0)


def place(x, y, yaw=0.0, pitch=0.0) -> Places:
    values = {"x": x, "y": y, "z": 0.0, "yaw_rad": yaw, "pitch_rad": pitch, "s_m": 0.0, "phase_rad": 0.0}
    return Places(**{name: np.array([value]) for name, value in values.items()})


def test_a_level_box_by_hand():
    (box,) = upright_boxes([actor(1)], place(10, 2, yaw=0.3), np.eye(4))
    np.testing.assert_allclose(box, [10, 2, 0.75, 4, 2, 1.5, 0.3], atol=1e-12)


def test_a_leaning_body_stays_within_its_upright_box():
    where = place(10, 2, yaw=0.3, pitch=0.1)
    (box,) = upright_boxes([actor(1)], where, np.eye(4))
    corners = boxes([(0, 0, 0.75)], [(4, 2, 1.5)]).reshape(-1, 3) @ where.rotations()[0].T + where.positions()[0]
    offset = corners - box[:3]
    along = offset[:, 0] * math.cos(0.3) + offset[:, 1] * math.sin(0.3)
    assert np.abs(along).max() == pytest.approx(box[3] / 2)
    assert np.abs(offset[:, 2]).max() == pytest.approx(box[5] / 2)


@pytest.mark.parametrize(("hidden", "level"), [(0.0, 0), (0.3, 1), (0.9, 2)])
def test_occlusion_is_the_share_of_rays_that_end_before_the_box(hidden, level):
    labels = annotated(hidden, points=20)
    assert labels.occlusion.tolist() == [level]
    assert labels.truncation.tolist() == [0]


def annotated(hidden: float, points: int, x: float = 20.0) -> ObjectLabels:
    car = actor(7)
    (box,) = upright_boxes([car], place(x, 0), np.eye(4))
    angles = np.linspace(-0.05, 0.05, 100)
    directions = np.stack([np.cos(angles), np.sin(angles), np.zeros(100)], axis=1).astype(np.float32)
    origins = np.tile(np.array([0, 0, 0.8], dtype=np.float32), (100, 1))
    numbers = np.arange(100, dtype=np.int32)
    reach = np.where(numbers < hidden * 100, 5.0, x - 2).astype(np.float32)
    scan = Scan(
        points=np.zeros((points, 4), dtype=np.float32),
        semantic=np.zeros(points, dtype=np.uint8),
        instance=np.full(points, 7, dtype=np.int32),
        ray=np.arange(points),
        reach_m=reach,
    )
    vertices = car.body.mesh.corners.reshape(-1, 3) + np.array([x, 0, 0], dtype=np.float32)
    objects = Objects(actors=(car,), boxes=box[None], vertices=(vertices,))
    rays = Rays(origins=origins, directions=directions, column=numbers, beam=0 * numbers)
    camera = make_camera(sensor_of("waymo"))
    return annotate(objects, rays, scan, camera, True, Policy(min_points=5, range_m=60))


@pytest.mark.parametrize(("points", "x"), [(4, 20.0), (20, 70.0)])
def test_objects_with_few_points_or_far_away_are_dont_care(points, x):
    labels = annotated(0.0, points, x)
    assert len(labels) == 0
    assert labels.image_only_boxes.shape == (1, 4)


def test_objects_without_points_are_not_mentioned():
    labels = annotated(0.0, 0)
    assert (len(labels), len(labels.image_only_boxes)) == (0, 0)


def test_a_cut_object_is_truncated():
    assert 0 < annotated(0.0, 20, x=3.5).truncation[0] < 1


def test_difficulty_by_hand():
    heights, occlusion, truncation = [50, 50, 30, 30, 20, 50, np.nan], [0, 1, 0, 2, 0, 3, 0], [0, 0, 0.3, 0.5, 0, 0, 1]
    labels = ObjectLabels(
        boxes=np.zeros((7, 7), dtype=np.float32),
        class_names=("Car",) * 7,
        image_boxes=np.array([[0, 0, 10, h] for h in heights], dtype=np.float32),
        occlusion=np.array(occlusion),
        truncation=np.array(truncation, dtype=np.float32),
        image_only_boxes=np.zeros((0, 4), dtype=np.float32),
    )
    assert difficulty_of(labels).tolist() == [0, 1, 1, 2, 3, 3, 3]
