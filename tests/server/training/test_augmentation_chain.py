from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from server.training.augmentation_chain import AugmentationConfig, compose
from server.training.augmentations import AUGMENTATIONS
from server.training.augmentations.flip import FlipConfig
from server.training.augmentations.rotation import RotationConfig
from server.training.ground_truth_database import build_database
from shared_models.configuration import from_dict, to_dict
from shared_models.errors import ConfigError
from tests.labelled_scenes import empty_scan, is_inside, make_scan

SCAN = make_scan(seed=0)
DATABASE = build_database(
    [make_scan(seed=k, frame_id=f"f{k}") for k in range(1, 6)],
    [f"f{k}" for k in range(1, 6)],
    ("x", "y", "z", "intensity"),
)


def test_every_augmentation_has_its_settings():
    assert {field.name for field in fields(AugmentationConfig)} == {"order", *AUGMENTATIONS}


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_each_alone(name):
    augmentation = compose(AugmentationConfig(order=(name,)), DATABASE)
    before = SCAN.points.copy(), SCAN.truth.boxes.copy()
    first, again = (augmentation.apply(SCAN, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first.points, again.points)
    np.testing.assert_array_equal(first.truth.boxes, again.truth.boxes)
    np.testing.assert_array_equal(SCAN.points, before[0])
    np.testing.assert_array_equal(SCAN.truth.boxes, before[1])
    assert first.points.dtype == first.truth.boxes.dtype == np.float32
    assert first.frame_id == SCAN.frame_id
    for box in first.truth.boxes:
        assert is_inside(first.points, box, 1e-3).sum() >= 20  # every object has kept its points
    for empty in (empty_scan(), empty_scan(points=4)):
        assert augmentation.apply(empty, np.random.default_rng(7)).frame_id == "empty"


def test_the_order_is_kept_and_the_transform_recorded():
    config = AugmentationConfig(flip=FlipConfig(along_x_probability=1.0))
    done = compose(config, DATABASE).apply_recorded(SCAN, np.random.default_rng(3))
    assert done.transform.is_flipped_x
    assert done.transform.rotation_rad != 0
    assert done.transform.scale != 1
    carried = done.transform.truth(SCAN.truth)  # objects are put in before the scene is turned, and come last
    np.testing.assert_allclose(done.scan.truth.boxes[: len(SCAN.truth)], carried.boxes, atol=1e-4)
    assert len(done.scan.truth) > len(SCAN.truth)
    back = done.transform.inverse.truth(done.scan.truth).boxes[: len(SCAN.truth)]
    np.testing.assert_allclose(back[:, :6], SCAN.truth.boxes[:, :6], atol=1e-4)


def test_no_augmentation_changes_nothing():
    done = compose(AugmentationConfig(order=())).apply_recorded(SCAN, np.random.default_rng(0))
    assert done.transform.is_identity
    assert done.scan is SCAN


def test_sampling_needs_a_database():
    assert AugmentationConfig().needs_database
    with pytest.raises(ConfigError, match="needs the database of labelled objects"):
        compose(AugmentationConfig())


def test_settings_from_a_file():
    config = from_dict(AugmentationConfig, {"order": ["flip"], "flip": {"along_y_probability": 0.5}})
    assert config.order == ("flip",)
    assert config.flip.along_y_probability == 0.5
    assert from_dict(AugmentationConfig, to_dict(config)) == config
    with pytest.raises(ConfigError, match="unknown augmentation 'flop'; known: flip, "):
        from_dict(AugmentationConfig, {"order": ["flop"]})
    with pytest.raises(ConfigError, match="each name once"):
        from_dict(AugmentationConfig, {"order": ["flip", "flip"]})


def test_a_curriculum_widens_the_ranges():
    config = AugmentationConfig(rotation=RotationConfig(max_rad=0.5)).strengthened(1.2)
    assert config.rotation.max_rad == pytest.approx(0.6)
    assert (config.scaling.low, config.scaling.high) == pytest.approx((0.94, 1.06))
    assert config.object_noise.max_rad == pytest.approx(0.462)
    assert (config.object_noise.low, config.object_noise.high) == pytest.approx((0.94, 1.06))
