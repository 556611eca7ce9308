"""Features are another machine's numbers: whatever finite values they have, detections stay finite."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shared_models import detectors
from shared_models.records import SceneFeatures


@pytest.mark.parametrize("name", sorted(detectors.DETECTORS))
def test_detections_of_huge_features_are_finite(name: str) -> None:
    detector = detectors.build(name, "tiny")
    low = torch.tensor([0.0, -20.0, -2.0, 0.0])
    points = low + torch.rand(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([35.0, 40.0, 2.0, 1.0])
    with torch.no_grad():
        features = detector.extract(points)
        found = detector.detect_batch([scaled(features, factor) for factor in (1e6, 1e38)])
    for detections in found:
        assert torch.isfinite(detections.boxes).all()
        assert bool(((detections.scores >= 0) & (detections.scores <= 1)).all())


def scaled(features: SceneFeatures, factor: float) -> SceneFeatures:
    largest = torch.finfo(torch.float32).max
    grid = replace(features.grid, features=(features.grid.features * factor).clamp(-largest, largest))
    keypoints = features.keypoints
    if keypoints is not None:
        keypoints = replace(keypoints, features=(keypoints.features * factor).clamp(-largest, largest))
    return replace(features, grid=grid, keypoints=keypoints)
