"""A view with scenes of 12.8 x 12.8 m and a narrow backbone, on which a learned attack is trained in a second."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from server.audit.scenes import AuditedVehicle
from server.audit.threat import AttackerView, Budget, PairedScene
from shared_models.backbones.bev import BevConfig
from shared_models.backbones.second import BackboneConfig
from shared_models.backbones.voxelizer import VoxelConfig
from shared_models.detectors import build_from_config
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.detectors.second_iou import SecondIouConfig

RANGE_M = (0.0, -6.4, -3.0, 12.8, 6.4, 1.0)
MakeView = Callable[..., AttackerView]


def small_scan(seed: int, points: int = 500) -> NDArray[np.float32]:
    """Flat ground, and a box somewhere on it."""
    generator = np.random.default_rng(seed)
    ground = generator.uniform([1, -6, -1.75, 0], [12, 6, -1.65, 1], (points, 4))
    x, y = generator.uniform([3, -4], [9, 4])
    box = generator.uniform([x, y, -1.6, 0.5], [x + 2, y + 1, 0, 1], (points // 2, 4))
    return np.concatenate((ground, box)).astype(np.float32)


@cache
def _vehicle(layer: str) -> AuditedVehicle:
    config = SecondIouConfig(
        voxels=VoxelConfig(point_range_m=RANGE_M, voxel_size_m=(0.2, 0.2, 0.1)),
        backbone=BackboneConfig(stage_channels=(12, 8, 8, 8), out_channels=8),
        bev=BevConfig(layer_counts=(1, 1), channels=(8, 8), upsample_channels=(8, 8)),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        detector = build_from_config("second_iou", config)
    assert isinstance(detector, AnchorDetector)
    return AuditedVehicle(detector, split_layer=layer)


@pytest.fixture(scope="session")
def small_view() -> MakeView:
    """`small_view(layer, scenes=6)`: white box, queries, own scenes of seeds 0 and up, and one victim, of seed 99."""

    def make(layer: str = "conv_out", scenes: int = 6, steps: int = 1000, seconds: float = 600.0) -> AttackerView:
        vehicle = _vehicle(layer)
        scans = [small_scan(seed) for seed in range(scenes)]
        return AttackerView(
            threat="test",
            geometry=vehicle.geometry,
            payloads=(vehicle.payload(small_scan(99), 0),),
            budget=Budget(steps=steps, seconds=seconds),
            origin="the same",
            detector=vehicle.detector,
            query=lambda scan: vehicle.payload(scan, 0),
            paired=tuple(PairedScene(points=scan, payload=vehicle.payload(scan, 0)) for scan in scans),
        )

    return make


@pytest.fixture(scope="session")
def small_victim() -> NDArray[np.float32]:
    """The scan behind the one payload of `small_view`."""
    return small_scan(99)
