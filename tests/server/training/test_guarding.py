"""Guards on the server's own scans are those of vehicles, with random numbers that follow from names."""

from __future__ import annotations

import pytest
import torch

from server.training.guarding import GuardedScenes, scene_generator
from shared_models import detectors, guards
from shared_models.detectors.guard_context import guard_context
from shared_models.errors import UnknownNameError
from shared_models.records import SceneFeatures


@pytest.fixture(scope="module")
def detector():
    return detectors.build("second_iou", "tiny", seed=3).eval()


@pytest.fixture(scope="module")
def features(detector) -> SceneFeatures:
    points = torch.rand((800, 4), generator=torch.Generator().manual_seed(1)) * torch.tensor([30.0, 40.0, 2.0, 1.0])
    with torch.no_grad():
        return detector.extract(points - torch.tensor([0.0, 20.0, 2.0, 0.0]))


def same(one: SceneFeatures, other: SceneFeatures) -> bool:
    return torch.equal(one.grid.coords, other.grid.coords) and torch.equal(one.grid.features, other.grid.features)


def test_no_guard_changes_nothing(detector, features) -> None:
    guard = GuardedScenes("none")
    assert not guard.is_changing
    assert guard.apply(features, detector, "f0") is features


@pytest.mark.parametrize("name", ["noise,epsilon=100.0", "decoys"])
def test_random_numbers_follow_from_the_names(detector, features, name: str) -> None:
    guard = GuardedScenes(name)
    assert guard.is_changing
    made = guard.apply(features, detector, 1, "f0")
    assert made.guard == guards.build(name).described()
    assert same(made, guard.apply(features, detector, 1, "f0"))
    assert not same(made, guard.apply(features, detector, 2, "f0"))
    assert not same(made, guard.apply(features, detector, 1, "f1"))
    assert same(made, guards.build(name).apply(features, scene_generator(1, "f0"), guard_context(detector)))


def test_detections_are_those_of_the_detector(detector, features) -> None:
    with torch.no_grad():
        found = detector.detect(features)
    least = float(found.scores.median())  # untrained weights find boxes everywhere: only the surer half counts
    name = f"crop_boxes,margin_m=0.0,least_score={least}"
    made = GuardedScenes(name).apply(features, detector, "f0")
    context = guard_context(detector, found)
    assert same(made, guards.build(name).apply(features, torch.Generator(), context))
    assert 0 < len(made.grid) < len(features.grid)


def test_an_unknown_guard_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="guard"):
        GuardedScenes("shield")
