from __future__ import annotations

import torch

from shared_models.backbones.voxelizer import crop_to_range
from shared_models.detectors import build


def scan(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    low, high = torch.tensor([1.0, -15.0, -1.7, 0.0]), torch.tensor([33.0, 15.0, -1.0, 1.0])
    return low + torch.rand(count, 4, generator=generator) * (high - low)


def test_a_batch_gives_what_its_scans_give_alone() -> None:
    detector = build("pv_rcnn", "tiny", seed=1)
    scans = [crop_to_range(scan(count, count), detector.config.voxels) for count in (1500, 0, 900)]
    with torch.inference_mode():
        voxels = detector.voxelize(scans)
        together = detector.pfe.gather(scans, voxels, detector.stages(voxels))
        for number, points in enumerate(scans):
            alone = detector.extract(points).keypoints
            assert torch.equal(together[number].positions, alone.positions)
            torch.testing.assert_close(together[number].features, alone.features, rtol=1e-4, atol=1e-4)


def test_gradients_reach_every_layer_of_a_batch() -> None:
    detector = build("pv_rcnn", "tiny", seed=1).train()
    scans = [scan(300, 1), scan(200, 2)]
    voxels = detector.voxelize(scans)
    gathered = detector.pfe.gather(scans, voxels, detector.stages(voxels))
    sum(part.features.square().sum() for part in gathered).backward()
    layers = [*detector.pfe.SA_layers.parameters(), *detector.pfe.SA_rawpoints.parameters()]
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in layers)
