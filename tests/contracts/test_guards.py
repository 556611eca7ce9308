"""What every guard in the table must do, whatever its name."""

from __future__ import annotations

import pytest
import torch

from shared_models import codecs, detectors, guards
from shared_models.detector import Detector
from shared_models.detectors.guard_context import guard_context
from shared_models.errors import ConfigError, UnknownNameError
from shared_models.guard import GuardContext, hash_of
from shared_models.records import Detections, GridFeatures, SceneFeatures, SetFeatures

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


CONTEXT = GuardContext(
    first_centre_m=(0.0, -2.0, -1.0),
    cell_size_m=(1.0, 1.0, 2.0),
    detections=Detections(
        boxes=torch.tensor([[1.0, 0.0, 0.0, 1.0, 1.0, 2.0, 0.3], [3.0, 1.0, 0.0, 2.0, 1.0, 1.0, 0.0]]),
        scores=torch.tensor([0.9, 0.4]),
        labels=torch.tensor([1, 0]),
        class_names=("Car", "Pedestrian", "Cyclist"),
    ),
)
# One setting of each guard that differs from its default.
OTHER = {
    "channels": "share=0.25",
    "coarse": "side=3",
    "crop_boxes": "margin_m=0.5",
    "crop_corridor": "half_width_m=1.5",
    "decoys": "share=1.5",
    "drop_people": "drops_cells=true",
    "keypoint_jitter": "sigma_m=0.5",
    "keypoint_snap": "parts=2",
    "noise": "epsilon=2.0",
}


def apply(name: str, features: SceneFeatures, seed: int = 0) -> SceneFeatures:
    return guards.build(name).apply(features, torch.Generator().manual_seed(seed), CONTEXT)


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


@pytest.fixture(scope="module")
def detector() -> Detector:
    return detectors.build("pv_rcnn", "tiny")


@pytest.fixture(scope="module")
def extracted(detector: Detector) -> SceneFeatures:
    generator = torch.Generator().manual_seed(0)
    low, size = torch.tensor([2.0, -8.0, -1.7, 0.0]), torch.tensor([20.0, 16.0, 1.0, 1.0])
    with torch.inference_mode():
        return detector.extract(low + size * torch.rand((600, 4), generator=generator))


@each_guard
@pytest.mark.parametrize("is_emptied", [False, True])
def test_the_server_still_detects_in_guarded_features(
    name: str, is_emptied: bool, detector: Detector, extracted: SceneFeatures
) -> None:
    with torch.inference_mode():
        context = guard_context(detector, CONTEXT.detections)
        given = f"crop_corridor,reach_m=0.0+{name}" if is_emptied else name
        guarded = guards.build(given).apply(extracted, torch.Generator().manual_seed(0), context)
        assert (len(guarded.grid) == 0) == is_emptied
        found = detector.detect(codecs.decode(codecs.encode(guarded, "float16")))
    assert torch.isfinite(found.boxes).all()


def test_none_changes_nothing() -> None:
    features = scene(20, 9)
    assert apply("none", features) is features


def test_an_unknown_guard_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="none"):
        guards.build("magic")


def test_every_guard_with_settings_is_tested_with_another_one() -> None:
    assert set(OTHER) == set(guards.GUARDS) - {"none"}


@each_guard
def test_name_and_settings_make_the_hash_and_build_the_same_guard_again(name: str) -> None:
    guard = guards.build(name)
    again = guards.build(guard.described())
    assert again.config == guard.config
    assert again.settings_hash == guard.settings_hash == hash_of(guard.described())
    if name in OTHER:
        other = guards.build(f"{name},{OTHER[name]}")
        assert other.settings_hash != guard.settings_hash
        assert guards.build(other.described()).config == other.config


def test_hashes_of_all_guards_differ() -> None:
    assert len({guards.build(name).settings_hash for name in guards.GUARDS}) == len(guards.GUARDS)


@each_guard
def test_the_payload_says_which_guard_made_it(name: str) -> None:
    guarded = apply(name, scene(20, 9))
    said = codecs.read_header(codecs.encode(guarded, "float16")).guard
    assert said == ("" if name == "none" else guards.build(name).described())
    assert codecs.decode(codecs.encode(guarded, "float16")).guard == said


@each_guard
def test_wrong_settings_are_refused_with_the_guards_name(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        guards.build(f"{name},no_such_setting=1")
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        guards.build(f"{name},loud")


def test_a_chain_applies_its_guards_in_order() -> None:
    features, generator = scene(20, 9), torch.Generator().manual_seed(5)
    once = guards.build("channels").apply(features, generator, CONTEXT)
    twice = guards.build("noise").apply(once, generator, CONTEXT)
    chained = apply("channels+noise", features, seed=5)
    assert torch.equal(chained.grid.features, twice.grid.features)
    assert chained.guard == twice.guard == guards.build("channels+noise").described()
    assert guards.build(chained.guard).settings_hash == guards.build("channels+noise").settings_hash
    assert guards.build("noise+drop_people").needs_detections
    assert not guards.build("noise+channels").needs_detections
