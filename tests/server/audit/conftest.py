"""Scenes small enough to audit in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from server.audit.scenes import AuditedVehicle, SceneTruth, Victims, make_victims, read_truths
from shared_models import detectors
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.backbones.voxelizer import VoxelConfig
from shared_models.datasets import open_dataset
from shared_models.detectors.anchor_detector import AnchorDetector


@pytest.fixture(scope="session")
def tiny() -> AnchorDetector:
    """SECOND-IoU in setting `tiny` with seeded weights, frozen."""
    torch.set_num_threads(1)
    detector = detectors.build("second_iou", "tiny")
    assert isinstance(detector, AnchorDetector)
    return detector


@pytest.fixture(scope="session")
def vehicle(tiny: AnchorDetector) -> AuditedVehicle:
    """The vehicle around it: float16, no guard."""
    return AuditedVehicle(tiny)


@pytest.fixture(scope="session")
def geometry() -> CutGeometry:
    """KITTI's conv_out: cells of 0.4 x 0.4 x 1.6 m."""
    return CutGeometry.of(VoxelConfig(), "conv_out")


def drawn_truth(name: str, seed: int, points: int = 900, boxes: int = 1) -> SceneTruth:
    """A flat ground and one car-sized cluster 12 m ahead, in the range of `tiny`."""
    generator = np.random.default_rng(seed)
    ground = generator.uniform([1, -15, -1.75, 0], [34, 15, -1.65, 1], (points, 4))
    car = generator.uniform([10, -1, -1.6, 0], [14, 1, 0, 1], (points // 9, 4))
    box = np.array([[12, 0, -0.8, 4.2, 2.2, 1.8, 0]] * boxes, np.float32).reshape(-1, 7)
    return SceneTruth(
        scene_id=name,
        points=np.concatenate([ground, car]).astype(np.float32),
        boxes=box,
        class_names=("Car",) * boxes,
        properties={"drive": name},
    )


@pytest.fixture(scope="session")
def truths() -> tuple[SceneTruth, ...]:
    """Six scenes."""
    return tuple(drawn_truth(f"scene-{seed}", seed) for seed in range(6))


@pytest.fixture(scope="session")
def victims(vehicle: AuditedVehicle, truths: tuple[SceneTruth, ...]) -> Victims:
    """Their payloads."""
    return make_victims(vehicle, truths, seed=0)


@pytest.fixture(scope="session")
def real_truths(kitti_root: Path, geometry: CutGeometry) -> tuple[SceneTruth, ...]:
    """Four real KITTI frames as the camera sees them."""
    dataset = open_dataset("kitti", kitti_root, "training")
    return tuple(read_truths(dataset, dataset.frame_ids[:4], geometry, view="camera"))
