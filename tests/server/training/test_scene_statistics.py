"""Numbers that describe a scene, against values counted by hand."""

from __future__ import annotations

import math

import pytest
import torch

from server.training.pseudo_labels import PseudoLabelConfig
from server.training.scene_statistics import box_statistics, cell_statistics, scene_statistics, value_statistics
from shared_models.heads.candidates import Candidates
from shared_models.records import GridFeatures, SceneFeatures
from tests.feature_scenes import HASH, make_keypoints

CLASSES = ("Car", "Pedestrian")
SURE = PseudoLabelConfig(class_score=0.4, box_score=(0.5,), score_floor=0.1)


def candidates() -> Candidates:
    """Two cars, one pedestrian, and a car that is not sure; far apart."""
    boxes = torch.tensor([[x, 0.0, 0.0, length, 2.0, 1.5, 0.0] for x, length in ((5, 4), (15, 5), (25, 1), (35, 4))])
    return Candidates(
        boxes=boxes,
        labels=torch.tensor([0, 0, 1, 0]),
        class_scores=torch.tensor([0.9, 0.8, 0.7, 0.3]),
        box_scores=torch.tensor([0.8, 0.6, 0.7, 0.4]),
    )


def grid(values: list[list[float]]) -> GridFeatures:
    coords = torch.tensor([[0, 0, 1], [0, 1, 3], [1, 1, 0]], dtype=torch.int32)[: len(values)]
    return GridFeatures(coords=coords, features=torch.tensor(values).reshape(-1, 4), shape=(2, 2, 4))


def test_cells() -> None:
    found = cell_statistics(grid([[0.0] * 4] * 3))
    assert found["cells/log_count"] == pytest.approx(math.log(4))
    assert found["cells/centre_x"] == pytest.approx((1 + 3 + 0) / 3 / 4)
    assert found["cells/spread_y"] == pytest.approx(math.sqrt(2) / 3 / 2)  # 0, 1, 1
    assert cell_statistics(grid([]))["cells/log_count"] == 0


def test_values_by_groups_of_channels() -> None:
    found = value_statistics("features", grid([[1.0, 3.0, 0.0, 0.0], [1.0, 3.0, 0.0, -6.0]]).features, 2)
    assert found == pytest.approx(
        {
            "features/mean_0": 2.0,
            "features/std_0": 1.0,
            "features/mean_1": -1.5,
            "features/std_1": math.sqrt((3 * 1.5**2 + 4.5**2) / 4),
            "features/zeros": 3 / 8,
            "features/log_largest": math.log(7),
        }
    )


def test_nothing_and_what_is_not_finite() -> None:
    nothing = value_statistics("features", torch.zeros(0, 4), 2)
    assert all(math.isnan(value) for value in nothing.values())
    broken = value_statistics("features", torch.tensor([[1.0, math.nan, 0, 0]]), 2)
    assert set(broken.values()) == {math.inf}
    assert nothing.keys() == broken.keys()


def test_boxes_that_would_be_pseudo_labels() -> None:
    found = box_statistics(candidates(), SURE, CLASSES)
    assert found["boxes/count_car"] == pytest.approx(math.sqrt(2))
    assert found["boxes/count_pedestrian"] == 1
    assert found["boxes/score"] == pytest.approx(0.7)
    assert found["boxes/log_length_car"] == pytest.approx((math.log(4) + math.log(5)) / 2)
    assert found["boxes/log_volume_pedestrian"] == pytest.approx(math.log(3.0))
    assert found["candidates/iou"] == pytest.approx(0.625)
    assert found["candidates/class"] == pytest.approx(0.675)
    none = box_statistics(candidates().chosen(torch.zeros(0, dtype=torch.int64)), SURE, CLASSES)
    assert (none["boxes/count_car"], none["candidates/iou"]) == (0, 0)
    assert math.isnan(none["boxes/log_length_car"])


def test_keypoints_are_looked_at_where_there_are_some() -> None:
    plain = SceneFeatures(grid=grid([[1.0] * 4] * 3), keypoints=None, split_layer="conv_out", backbone_hash=HASH)
    both = SceneFeatures(
        grid=grid([[1.0] * 4] * 3), keypoints=make_keypoints(0), split_layer="conv_out", backbone_hash=HASH
    )
    one, two = (scene_statistics(scene, candidates(), SURE, CLASSES, 2) for scene in (plain, both))
    assert {name.partition("/")[0] for name in two.keys() - one.keys()} == {"keypoints"}
