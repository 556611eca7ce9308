from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from shared_models.datasets.kitti import KittiDataset
from shared_models.datasets.plain_labels import plain_labels
from shared_models.records import Frame
from shared_models.statistics.objects import cars_of
from shared_models.statistics.summary import collect, in_view

ORIGIN = np.zeros(3, dtype=np.float32)
CAR = [20, 0, 0, 4, 2, 1.6, 0]


def frame(points_in_car: int, name: str = "Car", labelled: bool = True) -> Frame:
    inside = np.tile([20, 0, 0, 0.5], (points_in_car, 1)) + np.linspace(0, 0.5, max(points_in_car, 1))[
        :points_in_car, None
    ] * [1, 1, 1, 0]
    around = np.array([[30 * np.cos(a), 30 * np.sin(a), -1.7, 0.1] for a in np.arange(0, 2 * np.pi, 0.01)])
    boxes = np.array([CAR, [-40, 5, 0, 4, 2, 1.6, 0]], dtype=np.float32)
    return Frame(
        frame_id="f",
        points=np.concatenate([inside.reshape(-1, 4), around]).astype(np.float32),
        labels=plain_labels(boxes, [name, name]) if labelled else None,
    )


def test_cars_without_points_do_not_count():
    cars = cars_of(frame(7), ORIGIN)
    assert cars.points.tolist() == [7]
    np.testing.assert_allclose(cars.sizes_m, [[4, 2, 1.6]])
    assert cars.distances_m.tolist() == [20]


@pytest.mark.parametrize(("name", "count"), [("Car", 1), ("car", 1), ("REGULAR_VEHICLE", 1), ("Pedestrian", 0)])
def test_the_datasets_words_for_a_car(name, count):
    assert len(cars_of(frame(7, name), ORIGIN).points) == count


def test_values_of_several_frames():
    steps = []
    found = collect("x", [frame(5), frame(9)], ORIGIN, progress=lambda: steps.append(1))
    assert len(steps) == 2
    assert found.values["frames"] == 2
    assert found.values["points, full turn"] == 7 + 629
    assert found.values["points per car, 20-30 m"] == 7
    assert found.counts["points per car, 20-30 m"] == 2
    assert found.values["cars in view within 70 m, mean"] == 1
    assert found.values["car length, mean (m)"] == pytest.approx(4)
    assert found.values["active voxels, conv1"] > 100


def test_a_dataset_without_labels_has_no_cars():
    found = collect("x", [frame(5, labelled=False)], ORIGIN)
    assert not any("car" in row for row in found.values)


def test_an_empty_scan_and_no_scan_are_measured():
    empty = Frame(frame_id="e", points=np.empty((0, 4), np.float32))
    assert collect("x", [empty], ORIGIN).values["points, in view"] == 0
    assert collect("x", [], ORIGIN).values == {"frames": 0}


def test_the_view_is_that_of_kittis_camera():
    ahead, left, high, behind, low = [20, 0, 0], [20, 18, 0], [20, 0, 6], [-20, 0, 0], [5, 0, -1.7]
    assert in_view(np.array([ahead, left, high, behind, low], dtype=np.float32)).tolist() == [True] + [False] * 4


def test_the_sensors_place_counts():
    behind_it = np.array([100, 0, 0], dtype=np.float32)
    assert collect("x", [frame(3)], behind_it).values["points, in view"] == 0


@pytest.mark.data
def test_the_view_keeps_what_kitti_kept(kitti_root):
    for kept in islice(KittiDataset(kitti_root), 5):
        assert in_view(kept.points).mean() > 0.95
