"""What every augmentation of features must do, by every name and by both readings where a name has two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from server.training.features import FEATURE_AUGMENTATIONS
from server.training.features.chain import FeatureAugmentationConfig, compose_features
from server.training.features.flip import FeatureFlipConfig
from server.training.features.random_sampling import FeatureRandomSamplingConfig
from server.training.features.scene import FeatureScan
from shared_models.records import GridFeatures
from tests.feature_scenes import CHANNELS, MAP, make_bank, make_feature_scan, make_truth

VARIANTS = {name: FeatureAugmentationConfig(order=(name,)) for name in FEATURE_AUGMENTATIONS} | {
    "flip both ways": FeatureAugmentationConfig(
        order=("flip",), flip=FeatureFlipConfig(along_x_probability=1, along_y_probability=1)
    ),
    "flip naive": FeatureAugmentationConfig(
        order=("flip",), flip=FeatureFlipConfig(along_x_probability=1, mapping="naive")
    ),
    "rs resize": FeatureAugmentationConfig(order=("rs",), rs=FeatureRandomSamplingConfig(reading="resize")),
    "paper's first version": FeatureAugmentationConfig(order=("fgt", "frot")),
}
BANK = make_bank()


@pytest.fixture(params=list(VARIANTS))
def augmentation(request):
    return compose_features(VARIANTS[request.param], MAP, BANK)


def snapshot(scan: FeatureScan) -> list[bytes]:
    tensors = [scan.features.grid.coords, scan.features.grid.features]
    if scan.features.keypoints is not None:
        tensors += [scan.features.keypoints.positions, scan.features.keypoints.features]
    arrays = [tensor.numpy() for tensor in tensors]
    arrays += [scan.truth.boxes, scan.truth.labels, scan.truth.is_ignored, scan.truth.is_exact]
    return [array.tobytes() for array in arrays]


@pytest.mark.parametrize("seed", range(4))
def test_gives_valid_features_and_boxes_and_leaves_its_input_alone(augmentation, seed):
    scan = make_feature_scan(seed)
    before = snapshot(scan)
    made = augmentation.apply(scan, np.random.default_rng(seed))  # the records check order, range, shapes, dtypes
    assert snapshot(scan) == before
    assert made.features.grid.shape == MAP.shape
    assert made.features.grid.features.shape[1] == CHANNELS
    assert len(made.features.grid) > 10
    assert torch.isfinite(made.features.grid.features).all()
    assert len(made.features.keypoints) == len(scan.features.keypoints)
    assert made.features.backbone_hash == scan.features.backbone_hash
    assert made.scene_id == scan.scene_id
    np.testing.assert_array_equal(made.truth.labels[: len(scan.truth)], scan.truth.labels)
    np.testing.assert_array_equal(made.truth.is_ignored[: len(scan.truth)], scan.truth.is_ignored)
    assert not made.truth.is_exact[: len(scan.truth)].any()
    assert made.truth.is_exact[len(scan.truth) :].all()


def test_the_generator_decides(augmentation):
    scan = make_feature_scan(1)
    one, again = (snapshot(augmentation.apply(scan, np.random.default_rng(3))) for _ in range(2))
    assert one == again


@pytest.mark.parametrize("name", sorted(set(VARIANTS) - {"none", "flip both ways", "flip naive"}))
def test_other_numbers_give_other_features(name):
    augmentation, scan = compose_features(VARIANTS[name], MAP, BANK), make_feature_scan(1)
    made = {tuple(snapshot(augmentation.apply(scan, np.random.default_rng(seed)))) for seed in range(6)}
    assert len(made) > 1


@pytest.mark.parametrize("keypoints", [None, 0])
def test_an_empty_scene_is_valid(augmentation, keypoints):
    scan = make_feature_scan(2, boxes=0, density=0, keypoints=keypoints)
    assert len(scan.features.grid) == 0
    made = augmentation.apply(scan, np.random.default_rng(0))
    assert (made.features.keypoints is None) == (keypoints is None)
    assert len(made.truth) > 0 or len(made.features.grid) == 0


def test_cells_in_any_single_place(augmentation):
    for cell in ((0, 0, 0), (1, MAP.shape[1] - 1, MAP.shape[2] - 1)):
        grid = GridFeatures(
            coords=torch.tensor([cell], dtype=torch.int32), features=torch.ones(1, CHANNELS), shape=MAP.shape
        )
        scan = make_feature_scan(3, boxes=2)
        scan = replace(scan, features=replace(scan.features, grid=grid), truth=make_truth(3, 1))
        augmentation.apply(scan, np.random.default_rng(1))
