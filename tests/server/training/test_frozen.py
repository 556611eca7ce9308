"""The frozen vehicle part keeps every bit while the rest learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from server.training.frozen import freeze_vehicle_part, train_server_part, vehicle_modules
from shared_models.detectors import build, build_from_config, default_config
from shared_models.sparse import create_engine


@pytest.mark.parametrize("name", ["second_iou", "pv_rcnn"])
def test_exactly_the_vehicle_part_is_frozen(name: str) -> None:
    detector = build(name, "tiny").requires_grad_(True)
    freeze_vehicle_part(detector)
    train_server_part(detector)
    frozen = {key for key, value in detector.named_parameters() if not value.requires_grad}
    assert frozen == {key for key, _ in detector.named_parameters() if key.startswith(detector.vehicle_parts)}
    modules = dict(detector.named_modules())
    inside = {id(child) for top in vehicle_modules(detector) for child in top.modules()}
    for key, module in modules.items():
        if key and not list(module.children()):
            expected = f"{key}.".startswith(detector.vehicle_parts) or key.startswith(detector.vehicle_parts)
            assert (id(module) in inside) == expected, key
            assert module.training != expected, key


@pytest.mark.parametrize("name", ["second_iou", "pv_rcnn"])
def test_statistics_before_the_cut_do_not_move(name: str) -> None:
    detector = build(name, "tiny").requires_grad_(True)
    freeze_vehicle_part(detector)
    train_server_part(detector)
    before = {key: value.clone() for key, value in detector.vehicle_state().items()}
    generator = torch.Generator().manual_seed(1)
    points = torch.rand((2000, 4), generator=generator) * torch.tensor([30.0, 20.0, 2.0, 1.0]) - torch.tensor(
        [0.0, 10.0, 2.0, 0.0]
    )
    batch = detector.extract_batch([points, points[:500]])  # type: ignore[operator]
    assert not batch.grid.features.requires_grad
    after = detector.vehicle_state()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", ["second_iou", "pv_rcnn"])
def test_labelled_scans_get_the_features_that_a_vehicle_would_send(name: str) -> None:
    """With so many voxels that training would leave some out."""
    config = default_config(name, "tiny")
    config = replace(config, voxels=replace(config.voxels, max_voxels_training=100))
    detector = build_from_config(name, config, create_engine("auto")).requires_grad_(True)
    generator = torch.Generator().manual_seed(1)
    points = torch.rand((2000, 4), generator=generator) * torch.tensor([30.0, 20.0, 2.0, 1.0]) - torch.tensor(
        [0.0, 10.0, 2.0, 0.0]
    )
    sent = detector.eval().extract(points)
    freeze_vehicle_part(detector)
    train_server_part(detector)
    seen = detector.extract_batch([points])  # type: ignore[operator]
    assert len(sent.grid) > 100
    assert torch.equal(seen.grid.features, sent.grid.features)
    assert seen.keypoints is None or torch.equal(seen.keypoints[0].features, sent.keypoints.features)
    assert detector.train().extract_batch([points]).grid.features.shape != sent.grid.features.shape  # type: ignore[operator]
