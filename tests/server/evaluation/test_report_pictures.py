from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from server.evaluation.kitti import evaluate_kitti
from server.evaluation.kitti_config import HARD, ClassRule, KittiEvaluationConfig
from server.evaluation.report_pictures import COLOURS, curves_picture, distance_picture, frame_picture

image = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(image.open(io.BytesIO(png)).convert("RGB"))


def test_curves_and_distances_are_drawn(thing, frame_of) -> None:
    cars = [thing(x=0), thing(x=10)]
    config = KittiEvaluationConfig(classes=(ClassRule(),), difficulties=(HARD,), metrics=("3d",))
    some = evaluate_kitti([frame_of(cars, [replace(cars[0], score=0.9)])], config)
    none = evaluate_kitti([frame_of([], [])], config)
    for draw in (curves_picture, distance_picture):
        drawn, empty = pixels(draw(some)), pixels(draw(none))
        assert (drawn != empty).any(axis=2).sum() > 100


def test_any_number_of_classes_and_difficulties(thing, frame_of) -> None:
    """More classes than colours."""
    classes = tuple(ClassRule(name=f"class{n}") for n in range(len(COLOURS) + 1))
    config = KittiEvaluationConfig(classes=classes, difficulties=(HARD,), metrics=("3d",))
    report = evaluate_kitti([frame_of([thing("class6")], [thing("class6", score=1.0)])], config)
    assert curves_picture(report)
    assert distance_picture(report)


def test_only_detections_above_the_threshold_are_drawn(thing, frame_of) -> None:
    found = frame_of([], [thing(z=30, score=0.5)])
    nothing = frame_of([], [])
    above = pixels(frame_picture(found, None, {"CAR": 0.4}))
    assert (above != pixels(frame_picture(nothing, None, {}))).any()
    for thresholds in ({"Car": 0.6}, {}):
        np.testing.assert_array_equal(
            pixels(frame_picture(found, None, thresholds)), pixels(frame_picture(nothing, None, {}))
        )
