"""KITTI's evaluation: the official program's numbers, cases worked out by hand, and a slow program's numbers."""

from __future__ import annotations

import json
import logging
import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from server.evaluation.kitti import evaluate_kitti
from server.evaluation.kitti_config import EASY, HARD, MODERATE, SEEN_BY_LIDAR, ClassRule, KittiEvaluationConfig
from server.evaluation.kitti_folders import frame_of_objects, read_folders
from server.evaluation.objects import EvaluatedFrame
from shared_models.errors import InvalidValueError
from tests.server.evaluation import slow_kitti as slow

GOLDEN_METRICS = {
    "detection_AP": "image",
    "orientation_AOS": "aos",
    "detection_BEV_AP": "bev",
    "orientation_BEV_AHS": "bev_ahs",
    "detection_3D_AP": "3d",
    "orientation_3D_AHS": "3d_ahs",
}
CAR_ONLY = KittiEvaluationConfig(classes=(ClassRule(name="Car", neighbours=("Van",)),), difficulties=(MODERATE,))


def write_golden(golden: Path, root: Path) -> tuple[Path, Path]:
    folders = []
    for name in ("label_2", "detections"):
        lines = defaultdict(list)
        for line in (golden / f"{name}.txt").read_text().splitlines():
            frame, _, rest = line.partition(" ")
            lines[frame].append(rest + "\n")
        folder = root / name
        folder.mkdir()
        for number in range(240):
            (folder / f"{number:06d}.txt").write_text("".join(lines[f"{number:06d}"]))
        folders.append(folder)
    return folders[0], folders[1]


@pytest.mark.data
def test_the_official_program_gives_the_same(golden_root: Path, tmp_path: Path) -> None:
    golden = golden_root / "kitti_eval"
    expected = json.loads((golden / "expected.json").read_text())
    report = evaluate_kitti(read_folders(*write_golden(golden, tmp_path))).to_dict()
    assert report["frames"] == expected["frames"]
    assert len(expected["ap_r40"]) == 18
    for key, numbers in expected["ap_r40"].items():
        name, _, metric = key.partition("_")
        assert report["ap_r40"][name][GOLDEN_METRICS[metric]] == pytest.approx(numbers, abs=0.001), key
    # Counted in the text by the rule alone: class, height, occlusion, truncation.
    assert report["objects"] == {"car": [189, 575, 738], "pedestrian": [75, 171, 218], "cyclist": [39, 102, 142]}


def found(o, score: float, **changes):
    return replace(o, score=score, **changes)


def only(frames, config=CAR_ONLY, metric="3d", difficulty="moderate"):
    return evaluate_kitti(frames, config).score("Car", metric, difficulty)


def test_one_frame_by_hand(thing, frame_of) -> None:
    """Scores 0.9 right, 0.8 wrong, 0.7 right, one of three objects missed."""
    cars = [thing(x=0), thing(x=10), thing(x=-10)]
    detections = [found(cars[0], 0.9), found(thing(x=30), 0.8), found(cars[1], 0.7)]
    score = only([frame_of(cars, detections)])
    assert score.objects == 3
    assert score.curve.scores.tolist() == [0.9, 0.8, 0.7]
    assert score.curve.hits.tolist() == [1, 1, 2]
    assert score.curve.false_alarms.tolist() == [0, 1, 1]
    # recall 0 to 1/3 at precision 1, to 2/3 at precision 2/3
    assert score.ap_all == pytest.approx(100 * (1 / 3 + 1 / 3 * 2 / 3))
    # Two found objects give two samples: 1 at recall 0, 2/3 at 1/40.
    assert score.ap_r40 == pytest.approx(100 * (2 / 3) / 40)
    assert score.ap_r11 == pytest.approx(100 / 11)


@pytest.mark.parametrize(("objects", "highest"), [(1, 0.0), (5, 10.0), (39, 95.0), (40, 97.5), (41, 100.0), (90, 100)])
def test_few_objects_cap_the_sampled_ap_but_not_that_of_all_points(objects, highest, thing, frame_of) -> None:
    cars = [thing(x=8 * n, z=60) for n in range(objects)]
    score = only([frame_of(cars, [found(car, 1 - n / 1000) for n, car in enumerate(cars)])])
    assert score.ap_r40 == pytest.approx(highest)
    assert score.ap_all == pytest.approx(100)


def test_few_objects_are_warned_of(thing, frame_of, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        report = evaluate_kitti([frame_of([thing()], [])])
    (car,) = [w for w in report.warnings if w.startswith("Car moderate")]
    assert "few objects count (1)" in car
    assert "cannot exceed 0.0" in car
    assert "Cyclist easy: no object counts, so there is no AP" in report.warnings
    assert car in caplog.text
    assert report.to_dict()["warnings"] == list(report.warnings)


def test_enough_objects_are_not_warned_of(thing, frame_of) -> None:
    cars = [thing(x=8 * n, z=60) for n in range(40)]
    assert not evaluate_kitti([frame_of(cars, [])], CAR_ONLY).warnings


@pytest.mark.parametrize("neighbour", ["Van", "van"])
def test_a_neighbour_class_is_neither_right_nor_wrong(neighbour, thing, frame_of) -> None:
    car, van = thing(x=0), thing(neighbour, x=10)
    score = only([frame_of([car, van], [found(car, 0.5), found(van, 0.9, kind="Car")])])
    assert (score.objects, score.ap_all) == (1, 100)
    assert score.curve.false_alarms.tolist() == [0, 0]


def test_another_class_is_a_false_alarm(thing, frame_of) -> None:
    car, truck = thing(x=0), thing("Truck", x=10)
    score = only([frame_of([car, truck], [found(car, 0.5), found(truck, 0.9, kind="Car")])])
    assert score.ap_all == pytest.approx(50)


def test_detections_of_other_classes_are_dropped(thing, frame_of) -> None:
    car = thing()
    score = only([frame_of([car], [found(car, 0.9, kind="Truck"), found(car, 0.5)])])
    assert score.ap_all == 100
    assert score.curve.scores.tolist() == [0.5]


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({}, [1, 1, 1]),
        ({"image_box": (0.0, 100.0, 80.0, 140.0)}, [0, 1, 1]),  # 40 pixels: easy asks for more than 40
        ({"image_box": (0.0, 100.0, 80.0, 140.1)}, [1, 1, 1]),
        ({"image_box": (0.0, 100.0, 80.0, 125.0)}, [0, 0, 0]),
        ({"occlusion": 1}, [0, 1, 1]),
        ({"occlusion": 2}, [0, 0, 1]),
        ({"occlusion": 3}, [0, 0, 0]),
        ({"truncation": 0.15}, [1, 1, 1]),
        ({"truncation": 0.16}, [0, 1, 1]),
        ({"truncation": 0.31}, [0, 0, 1]),
        ({"truncation": 0.51}, [0, 0, 0]),
    ],
    ids=str,
)
def test_difficulties(changes, counted, thing, frame_of) -> None:
    car = thing(**changes)
    report = evaluate_kitti([frame_of([car], [found(car, 0.9)])])
    assert report.to_dict()["objects"]["car"] == counted
    for count, ap in zip(counted, report.to_dict()["ap_all"]["car"]["3d"], strict=True):
        assert ap == (100 if count else None)


def test_a_match_with_an_object_that_does_not_count_is_no_false_alarm(thing, frame_of) -> None:
    car, hidden = thing(x=0), thing(x=10, occlusion=3)
    score = only([frame_of([car, hidden], [found(car, 0.5), found(hidden, 0.9)])])
    assert score.ap_all == 100


def test_low_detections_are_ignored(thing, frame_of) -> None:
    """A detection of less than 25 pixels is no false alarm; an object it takes is neither found nor missed."""
    low = (600.0, 100.0, 680.0, 124.9)
    car, other = thing(x=0), thing(x=10)
    detections = [found(car, 0.5), found(thing(x=30), 0.9, image_box=low), found(other, 0.8, image_box=low)]
    report = evaluate_kitti([frame_of([car, other], detections)], CAR_ONLY)
    score = report.score("Car", "3d", "moderate")
    assert (score.objects, score.curve.hits[-1], score.curve.false_alarms[-1]) == (2, 1, 0)
    (outcome,) = report.outcomes
    assert (outcome.found, outcome.missed, outcome.false_alarms) == (1, 0, 0)


def test_low_detections_of_any_class_take_objects_as_in_the_official_program(thing, frame_of) -> None:
    low = (600.0, 100.0, 680.0, 120.0)
    car, seen = thing(x=0), thing(x=10)
    pedestrian = found(car, 0.9, kind="Pedestrian", image_box=low)
    report = evaluate_kitti([frame_of([car, seen], [pedestrian, found(seen, 0.5)])], CAR_ONLY)
    (outcome,) = report.outcomes
    assert (outcome.found, outcome.missed, outcome.false_alarms) == (1, 0, 0)
    high = replace(pedestrian, image_box=car.image_box)
    (outcome,) = evaluate_kitti([frame_of([car, seen], [high, found(seen, 0.5)])], CAR_ONLY).outcomes
    assert (outcome.found, outcome.missed, outcome.false_alarms) == (1, 1, 0)


def test_unlabelled_regions_excuse_false_alarms_in_the_image_only(thing, frame_of, region) -> None:
    car = thing(x=0)
    false = found(thing(x=10), 0.9)
    left, top, right, bottom = false.image_box
    # 75 % of the detection is covered: more than a car's 0.7, though its IoU with the region is far lower.
    frames = [
        frame_of([car, region(left - 500, top - 50, left + 0.75 * (right - left), bottom)], [found(car, 0.5), false])
    ]
    assert only(frames, metric="image").ap_all == 100
    assert only(frames, metric="bev").ap_all == pytest.approx(50)
    assert only(frames, metric="3d").ap_all == pytest.approx(50)
    less = [frame_of([car, region(left, top, left + 0.69 * (right - left), bottom)], [found(car, 0.5), false])]
    assert only(less, metric="image").ap_all == pytest.approx(50)


def test_a_second_detection_of_an_object_is_a_false_alarm(thing, frame_of) -> None:
    car = thing()
    closer, farther = found(car, 0.5), found(thing(x=0.3), 0.9)
    score = only([frame_of([car], [closer, farther])])
    assert score.curve.hits.tolist() == [1, 1]
    assert score.curve.false_alarms.tolist() == [0, 1]


def test_the_overlap_must_be_exceeded(thing, frame_of) -> None:
    """4 m long boxes, shifted by s, have an IoU of (4 - s) / (4 + s): 0.5 at s = 4 / 3."""
    rule = ClassRule(name="Car", image_iou=0.5, bev_iou=0.5, volume_iou=0.5)
    config = replace(CAR_ONLY, classes=(rule,))
    for shift, ap in ((1.32, 100), (1.35, 0)):
        score = only([frame_of([thing()], [found(thing(x=shift), 0.5)])], config)
        assert score.ap_all == ap


@pytest.mark.parametrize(("turn", "similarity"), [(0.0, 1.0), (math.pi / 2, 0.5), (math.pi, 0.0)])
def test_orientation(turn, similarity, thing, frame_of) -> None:
    """Cubes look the same from all sides; image orientation is alpha's, that from above rotation_y's."""
    cube = thing(size_m=(2.0, 2.0, 2.0))
    for changed, metric in (("alpha_rad", "aos"), ("rotation_y_rad", "bev_ahs"), ("rotation_y_rad", "3d_ahs")):
        report = evaluate_kitti([frame_of([cube], [found(cube, 0.5, **{changed: turn})])], CAR_ONLY)
        assert report.score("Car", metric, "moderate").ap_all == pytest.approx(100 * similarity)


def test_without_orientations_there_is_no_orientation_score(thing, frame_of) -> None:
    report = evaluate_kitti([frame_of([thing()], [found(thing(), 0.5, alpha_rad=-10.0)])], CAR_ONLY)
    assert report.score("Car", "image", "moderate").ap_all == 100
    assert report.to_dict()["ap_all"]["car"]["aos"] == [None]
    assert report.to_dict()["ap_r40"]["car"]["aos"] == [None]
    assert any("no aos" in warning for warning in report.warnings)


def test_nothing_found_and_nothing_to_find(thing, frame_of) -> None:
    nothing_found = evaluate_kitti([frame_of([thing()], [])]).to_dict()
    for kind in ("ap_r40", "ap_r11", "ap_all"):
        assert nothing_found[kind]["car"]["3d"] == [0, 0, 0]
        assert nothing_found[kind]["cyclist"]["aos"] == [None, None, None]
    nothing_there = evaluate_kitti([frame_of([], [found(thing(), 0.9)])])
    assert nothing_there.to_dict()["ap_all"]["car"]["3d"] == [None, None, None]
    assert json.loads(json.dumps(nothing_there.to_dict(), allow_nan=False))["objects"]["car"] == [0, 0, 0]
    empty = evaluate_kitti([frame_of([], [])])
    assert [math.isnan(outcome.f1) for outcome in empty.outcomes] == [True]


def test_distances(thing, frame_of) -> None:
    """Near car found, middle one missed, far one found; a false alarm in the middle, surer than all."""
    near, middle, far = thing(z=10), thing(z=30), thing(z=50)
    detections = [found(near, 0.8), found(far, 0.7), found(thing(x=8, z=30), 0.9)]
    report = evaluate_kitti([frame_of([near, middle, far], detections)], CAR_ONLY).to_dict()
    assert [(band["from_m"], band["to_m"]) for band in report["distance"]] == [(0, 20), (20, 40), (40, None)]
    assert [band["objects"]["car"] for band in report["distance"]] == [[1], [1], [1]]
    assert [band["ap_all"]["car"]["3d"] for band in report["distance"]] == [[100], [0], [100]]
    assert report["ap_all"]["car"]["3d"] == [pytest.approx(100 * (2 / 3) * (2 / 3))]


def test_outcomes_are_counted_at_the_threshold_of_the_best_f1(thing, frame_of) -> None:
    cars = [thing(x=0), thing(x=10)]
    good = frame_of(cars, [found(cars[0], 0.9), found(cars[1], 0.8)], "a")
    bad = frame_of([cars[0]], [found(thing(x=30), 0.8), found(thing(x=40), 0.1)], "b")
    report = evaluate_kitti([good, bad], CAR_ONLY)
    assert report.thresholds == {"Car": 0.8}
    assert [(o.found, o.missed, o.false_alarms) for o in report.outcomes] == [(2, 0, 0), (0, 1, 1)]
    assert [o.f1 for o in report.outcomes] == [1, 0]


def lidar_only(frame: EvaluatedFrame, points: list[int]) -> EvaluatedFrame:
    """The same without a camera."""

    def blind(objects):
        nothing = np.full((len(objects), 4), np.nan)
        return replace(objects, image_boxes=nothing, alpha_rad=nothing[:, 0])

    truth = replace(blind(frame.truth), point_counts=np.array(points, dtype=np.int64))
    return replace(frame, truth=truth, detections=blind(frame.detections))


def test_without_a_camera_every_object_with_a_point_counts(thing, frame_of) -> None:
    config = KittiEvaluationConfig.without_camera((ClassRule(name="Vehicle"),))
    cars = [thing("vehicle", x=0, occlusion=3), thing("vehicle", x=10), thing("vehicle", x=-10)]
    frame = lidar_only(frame_of(cars, [found(cars[0], 0.9), found(cars[1], 0.8)]), [7, 1, 0])
    report = evaluate_kitti([frame], config).to_dict()
    assert report["difficulties"] == [SEEN_BY_LIDAR.name]
    assert report["objects"] == {"vehicle": [2]}
    assert report["ap_all"] == {"vehicle": {"bev": [100], "bev_ahs": [100], "3d": [100], "3d_ahs": [100]}}


def test_what_is_absent_is_refused(thing, frame_of) -> None:
    frame = frame_of([thing()], [found(thing(), 0.9)])
    with pytest.raises(InvalidValueError, match="frame 000000 has objects without image boxes"):
        evaluate_kitti([lidar_only(frame, [5])])
    with pytest.raises(InvalidValueError, match="LiDAR points were not counted"):
        evaluate_kitti([frame], KittiEvaluationConfig.without_camera())
    with pytest.raises(InvalidValueError, match="at least one frame"):
        evaluate_kitti([])
    with pytest.raises(InvalidValueError, match="frame 000000 comes twice"):
        evaluate_kitti([frame, frame])


def random_frames(thing, generator: np.random.Generator, frames: int):
    """Crowded frames: objects shifted by a few overlaps, few distinct scores, all classes, low and hidden objects."""
    kinds = ["Car", "Car", "Car", "Van", "Pedestrian", "Person_sitting", "Cyclist", "Truck"]
    made = []
    for _ in range(frames):
        labelled = [one(thing, generator, kinds) for _ in range(generator.integers(0, 7))]
        detected = [
            replace(one(thing, generator, ["Car", "Car", "Pedestrian", "Cyclist"]), score=round(generator.random(), 1))
            for _ in range(generator.integers(0, 8))
        ]
        regions = [replace(one(thing, generator, ["Car"]), kind="DontCare") for _ in range(generator.integers(0, 2))]
        made.append((labelled + regions, detected))
    return made


def one(thing, generator: np.random.Generator, kinds: list[str]):
    x, z = generator.choice([0, 0.2, 0.5, 0.9, 6, 6.3]), 20 + generator.choice([0, 0.1, 0.2])
    left, height = 600 + 20 * x, generator.choice([24, 26, 39, 42, 60])
    return thing(
        str(generator.choice(kinds)),
        x=float(x),
        z=float(z),
        image_box=(left, 100.0, left + 80.0, 100.0 + float(height)),
        occlusion=int(generator.choice([0, 0, 0, 1, 2])),
        truncation=float(generator.choice([0, 0, 0.2, 0.4])),
    )


@pytest.mark.parametrize("seed", range(12))
def test_a_slow_program_gives_the_same(seed, thing) -> None:
    frames = random_frames(thing, np.random.default_rng(seed), 12)
    report = evaluate_kitti([frame_of_objects(f"{n:06d}", *frame) for n, frame in enumerate(frames)])
    for name in slow.MIN_IOU:
        for metric in ("image", "bev", "3d"):
            for difficulty in (EASY, MODERATE, HARD):
                score = report.score(name, metric, difficulty.name)
                expected = slow.evaluate(frames, name, metric, difficulty.name)
                assert score.objects == expected["objects"]
                for kind in ("ap_r40", "ap_r11", "ap_all"):
                    value = expected.get(kind, math.nan)
                    assert getattr(score, kind) == pytest.approx(value, abs=1e-9, nan_ok=True), (name, metric, kind)


def test_order_of_frames_does_not_matter(thing) -> None:
    frames = [
        frame_of_objects(f"{n:06d}", *frame)
        for n, frame in enumerate(random_frames(thing, np.random.default_rng(99), 30))
    ]
    assert evaluate_kitti(frames).to_dict()["ap_all"] == evaluate_kitti(frames[::-1]).to_dict()["ap_all"]
