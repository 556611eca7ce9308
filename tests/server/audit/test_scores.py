"""All measures of a scene, against hand-worked scenes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from server.audit.attack import Reconstruction
from server.audit.intervals import IntervalConfig
from server.audit.scenes import SceneTruth
from server.audit.scores import (
    MeasureConfig,
    SceneScore,
    direction_of,
    peak_of,
    points_inside,
    random_points,
    score_scene,
    scored,
    summarise,
)
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.errors import InvalidValueError


def truth_of(
    points: list[list[float]], boxes: list[list[float]] | None = None, names: tuple[str, ...] = (), scene_id: str = "s"
) -> SceneTruth:
    scan = np.array([[*point, 0.5] for point in points], np.float32).reshape(-1, 4)
    return SceneTruth(
        scene_id=scene_id, points=scan, boxes=np.array(boxes or [], np.float32).reshape(-1, 7), class_names=names
    )


def found_at(points: list[list[float]]) -> Reconstruction:
    return Reconstruction(points=np.array(points, np.float32).reshape(-1, 3))


# One point on the road at 10 m, one on a car at 30 m, one on a person at 50 m.
TRUTH = truth_of(
    [[10, 0, -1.7], [30, 0, -0.5], [50, 0, 0]],
    [[30, 0, -0.8, 4, 2, 1.6, 0.2], [50, 0, 0, 1, 1, 2, 0]],
    ("Car", "Pedestrian"),
)


def test_parts_are_scored_on_their_own_points(geometry: CutGeometry) -> None:
    # The road is met to 5 cm, the car to 30 cm, the person not at all.
    numbers = score_scene(TRUTH, found_at([[10.05, 0, -1.7], [30.3, 0, -0.5]]), geometry)
    assert numbers["recall_0.1m"] == pytest.approx(1 / 3)
    assert numbers["precision_0.5m"] == 1
    assert numbers["band/0-20m/f_score_0.1m"] == 1
    assert numbers["band/20-40m/f_score_0.2m"] == 0
    assert numbers["band/20-40m/f_score_0.5m"] == 1
    assert numbers["band/40-infm/recall_0.5m"] == 0
    assert numbers["class/Car/recall_0.5m"] == 1
    assert numbers["class/Pedestrian/recall_0.5m"] == 0
    assert math.isnan(numbers["class/Cyclist/recall_0.5m"])
    assert numbers["above_ground/recall_0.5m"] == pytest.approx(1 / 2)
    assert numbers["above_ground/precision_0.2m"] == 0
    assert numbers["verbatim_share"] == 0
    assert numbers["points"] == 2


def test_the_scan_itself_is_the_ceiling_and_nothing_the_bottom(geometry: CutGeometry) -> None:
    best = score_scene(TRUTH, Reconstruction(points=TRUTH.points), geometry)
    assert all(best[f"f_score_{t}m"] == 1 for t in (0.1, 0.2, 0.5))
    assert (best["chamfer_m"], best["verbatim_share"], best["voxel_iou_0.1m"]) == (0, 1, 1)
    worst = score_scene(TRUTH, found_at([]), geometry)
    assert (worst["chamfer_m"], worst["f_score_0.5m"]) == (2 * peak_of(geometry), 0)
    assert peak_of(geometry) == pytest.approx(math.sqrt(70.4**2 + 80**2 + 4**2))


def test_an_empty_scene_is_valid(geometry: CutGeometry) -> None:
    empty = truth_of([])
    assert score_scene(empty, found_at([]), geometry)["f_score_0.2m"] == 1
    assert score_scene(empty, found_at([[1, 1, 0]]), geometry)["f_score_0.2m"] == 0
    assert math.isnan(score_scene(empty, found_at([]), geometry)["band/0-20m/chamfer_m"])


def test_named_cells_are_compared_with_the_ground_cells_of_the_scan(geometry: CutGeometry) -> None:
    # The scan's points lie in ground cells (25, 100), (75, 100) and (125, 100) of 0.4 m.
    cells = np.array([[25, 100, 0], [25, 100, 1], [75, 100, 0], [3, 3, 0]])
    found = Reconstruction(points=np.zeros((0, 3), np.float32), cells=cells, cell_size_m=(0.4, 0.4, 1.6))
    numbers = score_scene(TRUTH, found, geometry)
    assert (numbers["ground_cell_precision"], numbers["ground_cell_recall"]) == (pytest.approx(2 / 3),) * 2


def test_ground_cells_are_of_one_size_for_all_attacks_floors_and_the_ceiling(geometry: CutGeometry) -> None:
    """Cells of another size say nothing about the uploaded ones. The points do, here in cell (25, 100) and beside."""
    fine = Reconstruction(
        points=np.array([[10.1, 0.1, 0], [10.2, 0.2, 0], [10.5, 0.1, 0]], np.float32),
        cells=np.array([[0, 0, 0]]),
        cell_size_m=(0.05, 0.05, 0.1),
    )
    for found in (fine, Reconstruction(points=fine.points)):
        numbers = score_scene(TRUTH, found, geometry)
        assert (numbers["ground_cell_precision"], numbers["ground_cell_recall"]) == (1 / 2, pytest.approx(1 / 3))
    itself = score_scene(TRUTH, Reconstruction(points=TRUTH.points), geometry)
    assert (itself["ground_cell_precision"], itself["ground_cell_recall"]) == (1, 1)


def test_boxes_hold_points_also_where_there_are_as_many_boxes_as_points() -> None:
    boxes = np.array([[0, 0, 0, 2, 2, 2, 0], [9, 9, 0, 1, 1, 1, 0]], np.float32)
    points = np.array([[0.5, 0.5, 0], [50, 50, 0]])
    assert points_inside(points, boxes).tolist() == [True, False]
    assert points_inside(points, boxes[:0]).tolist() == [False, False]


def test_the_summary_ranks_what_came_back_most_first(geometry: CutGeometry) -> None:
    offsets = [0.15, 0.0, 5.0, 0.3, 0.05, 0.6]
    truths = [truth_of([[10, 0, 0]], scene_id=f"{x}") for x in offsets]
    each = scored(((t, found_at([[10 + x, 0, 0]])) for t, x in zip(truths, offsets, strict=True)), geometry)
    summary = summarise(each, IntervalConfig(), seed=0, headline="chamfer_m")
    assert summary.ranked == ("0.0", "0.05", "0.15", "0.3", "0.6", "5.0")
    assert summary.estimates["f_score_0.2m"].mean == pytest.approx(3 / 6)
    assert summary.estimates["class/Car/recall_0.5m"].mean is None
    by_score = summarise(each, IntervalConfig(), seed=0)
    assert set(by_score.ranked[:3]) == {"0.0", "0.05", "0.15"}


def test_a_scene_without_the_headline_comes_last() -> None:
    scores = [SceneScore(scene_id="none", numbers={}), SceneScore(scene_id="some", numbers={"f_score_0.2m": 0.0})]
    assert summarise(scores, IntervalConfig(), seed=0).ranked == ("some", "none")


def test_directions() -> None:
    assert direction_of("class/Car/f_score_0.2m") == 1
    assert direction_of("band/0-20m/chamfer_m") == -1
    assert direction_of("points") == 0


def test_random_points_lie_in_the_range(geometry: CutGeometry) -> None:
    drawn = random_points(500, geometry, seed=4)
    assert geometry.inside(drawn.points).all()
    assert np.array_equal(drawn.points, random_points(500, geometry, seed=4).points)
    assert not np.array_equal(drawn.points, random_points(500, geometry, seed=5).points)


def test_senseless_measures_are_refused() -> None:
    for wrong in ({"thresholds_m": ()}, {"voxels_m": (0.0,)}, {"class_names": ()}, {"bands_m": (-1.0,)}):
        with pytest.raises(InvalidValueError, match="MeasureConfig"):
            MeasureConfig(**wrong)
