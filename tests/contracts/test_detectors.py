"""What every detector in every setting must do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shared_models.detectors import DETECTORS, SETTINGS, build, default_config
from shared_models.errors import BackboneMismatchError, InvalidValueError, UnknownNameError
from shared_models.sparse.tensor import collate

BEV_CELLS = {"kitti": (2, 200, 176), "waymo": (2, 188, 188), "small": (2, 100, 88), "tiny": (2, 50, 44)}


def scan(detector, count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.tensor([1.0, -15.0, -1.7, 0.0, 0.0])[: len(detector.point_fields)]
    high = torch.tensor([33.0, 15.0, -1.0, 1.0, 1.0])[: len(detector.point_fields)]
    return low + torch.rand(count, len(low), generator=generator) * (high - low)


@pytest.fixture(scope="module", params=list(DETECTORS))
def detector(request):
    return build(request.param, "tiny", seed=1)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", DETECTORS)
def test_settings_build_with_the_stated_maps(name: str, setting: str) -> None:
    made = build(name, setting)
    assert made.name == name
    assert made.geometry.grid_shape == BEV_CELLS[setting]
    assert not made.training
    assert made.config == default_config(name, setting)


def test_features_go_in_and_boxes_come_out(detector) -> None:
    with torch.inference_mode():
        features = detector.extract(scan(detector, 2000))
        found = detector.detect(features)
    assert features.grid.shape == detector.geometry.grid_shape
    assert features.split_layer == "conv_out"
    assert features.backbone_hash == detector.backbone_hash
    assert len(found) > 0
    assert found.class_names == ("Car", "Pedestrian", "Cyclist")
    assert bool((found.scores[1:] <= found.scores[:-1]).all())
    assert bool(torch.isfinite(found.boxes).all())


def test_fresh_weights_tell_scans_apart(detector) -> None:
    """Otherwise a comparison of untrained detections could not fail."""
    with torch.inference_mode():
        one, other = (detector.extract(scan(detector, 3000, seed)) for seed in (1, 2))
        bev = [detector.first_stage(collate([scene.grid])).bev for scene in (one, other)]
    assert 0.1 < float(bev[0].std()) < 10
    assert float((bev[0] - bev[1]).abs().mean()) > 0.1 * float(bev[0].std())


def test_a_batch_gives_what_its_scenes_give_alone(detector) -> None:
    with torch.inference_mode():
        scenes = [detector.extract(scan(detector, count, count)) for count in (1500, 0, 2500)]
        together = detector.detect_batch(scenes)
        alone = [detector.detect(scene) for scene in scenes]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a.boxes, b.boxes, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(a.scores, b.scores, rtol=1e-4, atol=1e-4)


def test_empty_scan(detector) -> None:
    with torch.inference_mode():
        features = detector.extract(torch.zeros(0, len(detector.point_fields)))
        assert len(features.grid) == 0
        assert torch.isfinite(detector.detect(features).boxes).all()


def test_same_seed_same_bits_and_the_callers_random_numbers_are_left_alone(detector) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again = build(detector.name, "tiny", seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert again.backbone_hash == detector.backbone_hash
    assert build(detector.name, "tiny", seed=2).backbone_hash != detector.backbone_hash


def test_the_hash_covers_the_vehicles_part_alone() -> None:
    for name in DETECTORS:
        made = build(name, "tiny")
        before = made.backbone_hash
        with torch.no_grad():
            made.dense_head.conv_cls.weight.add_(1.0)
            made.backbone_3d.conv1[0][1].num_batches_tracked.add_(1)
        assert made.backbone_hash == before
        with torch.no_grad():
            made.backbone_3d.conv1[0][1].running_mean.add_(1e-6)
        assert made.backbone_hash != before


@pytest.mark.parametrize("fused", [False, True])
def test_training_changes_the_hash_however_it_writes(fused: bool) -> None:
    made = build("second_iou", "tiny").requires_grad_(False)
    frozen = made.backbone_hash
    assert made.backbone_hash == frozen
    made.requires_grad_().train()
    assert made.backbone_hash == frozen
    optimiser = torch.optim.AdamW(made.parameters(), lr=0.1, fused=fused)
    made.backbone_3d(made.voxelize([scan(made, 500)]).cells).conv_out.features.square().sum().backward()
    optimiser.step()
    trained = made.backbone_hash
    assert trained != frozen
    assert made.eval().requires_grad_(False).backbone_hash == trained
    made.requires_grad_()
    made.backbone_3d.conv_input[0].weight.data.mul_(2.0)
    assert made.backbone_hash not in (frozen, trained)


@pytest.mark.parametrize("name", DETECTORS)
def test_mixed_precision_runs_and_stays_close(name: str) -> None:
    made = build(name, "tiny", seed=1)
    points = scan(made, 3000)
    with torch.inference_mode():
        exact = made.extract(points)
        with torch.autocast("cpu", torch.bfloat16):
            features = made.extract(points)
            found = made.detect(features)
    assert features.grid.features.dtype == torch.float32
    torch.testing.assert_close(features.grid.features, exact.grid.features)  # the sparse part keeps full precision
    assert found.boxes.dtype == found.scores.dtype == torch.float32
    assert len(found) > 0


def test_the_hash_does_not_depend_on_inference_mode() -> None:
    with torch.inference_mode():
        made = build("second_iou", "tiny", seed=1)
        inside = made.backbone_hash
    assert inside == made.backbone_hash == build("second_iou", "tiny", seed=1).backbone_hash


def test_foreign_features_are_refused(detector) -> None:
    with torch.inference_mode():
        features = detector.extract(scan(detector, 500))
    with pytest.raises(BackboneMismatchError, match="load the checkpoint that the vehicle used"):
        detector.detect(replace(features, backbone_hash="0" * 64))
    narrow = replace(features.grid, features=features.grid.features[:, :5].contiguous())
    with pytest.raises(InvalidValueError, match="scene 0 of the batch"):
        detector.detect(replace(features, grid=narrow))


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: pv_rcnn, second_iou"):
        build("centerpoint", "tiny")
    with pytest.raises(UnknownNameError, match="known: kitti, small, tiny, waymo"):
        build("second_iou", "huge")


def test_pv_rcnn_needs_its_keypoints() -> None:
    made = build("pv_rcnn", "tiny")
    with torch.inference_mode():
        features = made.extract(scan(made, 500))
    with pytest.raises(InvalidValueError, match="needs keypoints with 512 channels, got none"):
        made.detect(replace(features, keypoints=None))
