"""What every guard in the table must do, whatever its name."""

from __future__ import annotations

import pytest
import torch

from shared_models import codecs, guards
from shared_models.errors import UnknownNameError
from shared_models.records import GridFeatures, SceneFeatures, SetFeatures

each_guard = pytest.mark.parametrize("name", sorted(guards.GUARDS))


def scene(cells: int, keypoints: int | None) -> SceneFeatures:
    generator = torch.Generator().manual_seed(cells)
    keys = torch.randperm(70, generator=generator)[:cells].sort().values
    grid = GridFeatures(
        coords=torch.stack([keys // 35, keys // 7 % 5, keys % 7], 1).int(),
        features=torch.randn(cells, 4, generator=generator).relu(),
        shape=(2, 5, 7),
    )
    points = None
    if keypoints is not None:
        points = SetFeatures(
            positions=torch.randn(keypoints, 3, generator=generator),
            features=torch.rand(keypoints, 6, generator=generator),
        )
    return SceneFeatures(grid=grid, keypoints=points, split_layer="conv_out", backbone_hash="5e" * 32)


def apply(name: str, features: SceneFeatures, seed: int = 0) -> SceneFeatures:
    return guards.build(name).apply(features, torch.Generator().manual_seed(seed))


@each_guard
@pytest.mark.parametrize(("cells", "keypoints"), [(20, 9), (20, None), (0, None), (0, 0)])
def test_guarded_features_are_a_scene_of_the_same_backbone_that_can_be_encoded(
    name: str, cells: int, keypoints: int | None
) -> None:
    features = scene(cells, keypoints)
    guarded = apply(name, features)
    assert guarded.split_layer == features.split_layer
    assert guarded.backbone_hash == features.backbone_hash
    assert guarded.grid.shape == features.grid.shape
    assert (guarded.keypoints is None) == (features.keypoints is None)
    codecs.decode(codecs.encode(guarded, "float32"))


@each_guard
def test_the_same_seed_gives_the_same_bytes(name: str) -> None:
    features = scene(20, 9)
    payloads = {codecs.encode(apply(name, features, seed=3), "float32") for _ in range(2)}
    assert len(payloads) == 1


@each_guard
def test_the_original_features_stay_as_they_were(name: str) -> None:
    features = scene(20, 9)
    before = codecs.encode(features, "float32")
    apply(name, features)
    assert codecs.encode(features, "float32") == before


def test_none_changes_nothing() -> None:
    features = scene(20, 9)
    assert apply("none", features) is features


def test_an_unknown_guard_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="none"):
        guards.build("magic")
