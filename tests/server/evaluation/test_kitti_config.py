from __future__ import annotations

import math
import re

import pytest

from server.evaluation.kitti_config import LOOSE, ClassRule, Difficulty, KittiEvaluationConfig
from shared_models.configuration import from_dict, to_dict
from shared_models.errors import InvalidValueError


def test_defaults_are_those_of_kitti() -> None:
    config = KittiEvaluationConfig()
    assert [(r.name, r.image_iou, r.bev_iou, r.volume_iou) for r in config.classes] == [
        ("Car", 0.7, 0.7, 0.7),
        ("Pedestrian", 0.5, 0.5, 0.5),
        ("Cyclist", 0.5, 0.5, 0.5),
    ]
    assert [(d.min_height_px, d.max_occlusion, d.max_truncation) for d in config.difficulties] == [
        (40, 0, 0.15),
        (25, 1, 0.30),
        (25, 2, 0.50),
    ]
    assert [(r.bev_iou, r.volume_iou) for r in LOOSE] == [(0.5, 0.5), (0.25, 0.25), (0.25, 0.25)]
    assert config.needs_image
    assert not KittiEvaluationConfig.without_camera().needs_image


def test_it_can_be_kept_in_a_run_file() -> None:
    for config in (KittiEvaluationConfig(classes=LOOSE), KittiEvaluationConfig.without_camera()):
        assert from_dict(KittiEvaluationConfig, to_dict(config)) == config


def test_bands() -> None:
    assert KittiEvaluationConfig(distance_edges_m=(0.0, 30.0)).bands_m == ((0, 30), (30, math.inf))
    assert KittiEvaluationConfig(distance_edges_m=()).bands_m == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClassRule(bev_iou=1.0), "ClassRule.bev_iou"),
        (lambda: ClassRule(bev_iou=math.nan), "ClassRule.bev_iou"),
        (lambda: ClassRule(neighbours=("car",)), "other classes than Car"),
        (lambda: Difficulty(min_points=-1), "Difficulty.limits"),
        (lambda: KittiEvaluationConfig(metrics=("2d",)), "expected image, bev, 3d, got 2d"),
        (lambda: KittiEvaluationConfig(classes=()), "KittiEvaluationConfig.classes"),
        (lambda: KittiEvaluationConfig(classes=(ClassRule(), ClassRule(name="CAR"))), "different names"),
        (lambda: KittiEvaluationConfig(distance_edges_m=(0.0, 0.0)), "rising edges"),
    ],
)
def test_wrong_settings_are_refused(make, message) -> None:
    with pytest.raises(InvalidValueError, match=re.escape(message)):
        make()
