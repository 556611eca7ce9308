from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shared_models import detectors
from shared_models.detectors.batch_input import BatchInput
from shared_models.errors import InvalidValueError


def scan(count: int, seed: int) -> torch.Tensor:
    unit = torch.rand(count, 4, generator=torch.Generator().manual_seed(seed))
    return unit * torch.tensor([30.0, 20, 1, 1]) + torch.tensor([2.0, -10, -1.7, 0])


@pytest.fixture(scope="module", params=list(detectors.DETECTORS))
def detector(request):
    return detectors.build(request.param, "tiny", seed=1)


def assert_same(one: BatchInput, other: BatchInput) -> None:
    assert torch.equal(one.grid.sites.coords, other.grid.sites.coords)
    torch.testing.assert_close(one.grid.features, other.grid.features, rtol=1e-4, atol=1e-5)
    assert len(one) == len(other)
    assert (one.keypoints is None) == (other.keypoints is None)
    for a, b in zip(one.keypoints or (), other.keypoints or (), strict=True):
        assert torch.equal(a.positions, b.positions)
        torch.testing.assert_close(a.features, b.features, rtol=1e-4, atol=1e-5)


def test_raw_stored_and_joined_scenes_are_the_same_batch(detector) -> None:
    scans = [scan(400, 0), scan(0, 1), scan(300, 2)]
    with torch.no_grad():
        raw = detector.extract_batch(scans)
        stored = [detector.extract(points) for points in scans]
    assert_same(raw, BatchInput.of(stored))
    assert_same(raw, BatchInput.of(stored[:1]).joined(BatchInput.of(stored[1:])))
    joined = raw.joined(raw)
    joined.grid.sites.check_contents()
    assert len(joined) == 6


def test_gradients_reach_the_vehicle_part(detector) -> None:
    detector.zero_grad()
    batch = detector.extract_batch([scan(200, 0), scan(200, 1)])
    total = batch.grid.features.sum()
    for keypoints in batch.keypoints or ():
        total = total + keypoints.features.sum()
    total.backward()
    names = [name for name, _ in detector.named_parameters() if name.startswith(detector.vehicle_parts)]
    taught = {name for name, parameter in detector.named_parameters() if parameter.grad is not None}
    assert taught == set(names)


def test_a_scan_without_points_has_a_backward_pass(detector) -> None:
    batch = detector.extract_batch([scan(0, 0)])
    assert len(batch.grid.sites) == 0
    assert torch.isfinite(detector.first_stage(batch.grid).bev).all()


def test_batches_that_do_not_fit_are_refused() -> None:
    second, pv = (detectors.build(name, "tiny") for name in ("second_iou", "pv_rcnn"))
    with torch.no_grad():
        one, other = second.extract_batch([scan(50, 0)]), pv.extract_batch([scan(50, 0)])
    with pytest.raises(InvalidValueError, match="keypoints in both or in neither"):
        one.joined(other)
    with pytest.raises(InvalidValueError, match="expected those of 1 scenes, got 2"):
        replace(other, keypoints=other.keypoints * 2)
