"""What each guard takes away, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from shared_models import guards
from shared_models.errors import ConfigError, InvalidValueError
from shared_models.guard import GuardContext
from shared_models.guards.noise import GaussianNoiseConfig
from shared_models.records import Detections, GridFeatures, SceneFeatures, SetFeatures

PLACES = {"first_centre_m": (0.5, -1.5, 0.0), "cell_size_m": (1.0, 1.0, 2.0)}
# Cells (z, y, x) with their middles at (0.5, -1.5, 0), (3.5, -1.5, 0), (3.5, 0.5, 0) and (0.5, -1.5, 2).
COORDS = [[0, 0, 0], [0, 0, 3], [0, 2, 3], [1, 0, 0]]


def found(score: float = 0.8, label: int = 1) -> Detections:
    """A person half a metre wide, standing at (3.5, -1.5)."""
    return Detections(
        boxes=torch.tensor([[3.5, -1.5, 0.0, 0.5, 0.5, 1.8, 0.0]]),
        scores=torch.tensor([score]),
        labels=torch.tensor([label]),
        class_names=("Car", "Pedestrian"),
    )


def scene() -> SceneFeatures:
    return SceneFeatures(
        grid=GridFeatures(
            coords=torch.tensor(COORDS, dtype=torch.int32),
            features=torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0], [5.0, 5.0]]),
            shape=(2, 4, 6),
        ),
        keypoints=SetFeatures(
            positions=torch.tensor([[3.4, -1.4, 0.2], [0.6, 0.9, 0.9], [4.2, -1.5, 0.0]]),
            features=torch.ones((3, 4)),
        ),
        split_layer="conv_out",
        backbone_hash="a0" * 32,
    )


def guarded(given: str, detections: Detections | None = None, features: SceneFeatures | None = None) -> SceneFeatures:
    context = GuardContext(**PLACES, detections=detections)  # type: ignore[arg-type]
    return guards.build(given).apply(features or scene(), torch.Generator().manual_seed(1), context)


def cells(features: SceneFeatures) -> list[list[int]]:
    return features.grid.coords.tolist()


def positions(features: SceneFeatures) -> list[list[float]]:
    assert features.keypoints is not None
    return [[round(value, 4) for value in row] for row in features.keypoints.positions.tolist()]


def test_coarse_merges_blocks_and_takes_the_mean_of_their_features() -> None:
    coarse = guarded("coarse,side=4")
    assert cells(coarse) == [[0, 0, 0], [1, 0, 0]]  # the first three lie in one block of 4 x 4
    assert coarse.grid.features.tolist() == [[pytest.approx(4 / 3), 2.0], [5.0, 5.0]]


def test_channels_keeps_the_same_share_of_columns_in_every_scene() -> None:
    kept = guarded("channels,share=0.5")
    zero = (kept.grid.features == 0).all(0)
    assert int(zero.sum()) == 1
    assert torch.equal(kept.grid.features[:, ~zero], scene().grid.features[:, ~zero])
    assert kept.keypoints is not None
    assert (kept.keypoints.features == 1).all(0).sum() == 2


def test_crop_boxes_keeps_what_lies_near_a_detection_at_any_height() -> None:
    near = guarded("crop_boxes,margin_m=0.5", found())
    assert cells(near) == [[0, 0, 3]]
    assert positions(near) == [[3.4, -1.4, 0.2], [4.2, -1.5, 0.0]]
    assert cells(guarded("crop_boxes,margin_m=0.5", found(score=0.05))) == []


def test_crop_corridor_keeps_the_road_ahead() -> None:
    road = guarded("crop_corridor,half_width_m=1.0,reach_m=4.0")
    assert cells(road) == [[0, 2, 3]]
    assert positions(road) == [[0.6, 0.9, 0.9]]


def test_decoys_hide_among_the_true_cells() -> None:
    mixed = guarded("decoys,share=2.0")
    assert len(mixed.grid) == 12
    assert all(cell in cells(mixed) for cell in COORDS)
    known = {tuple(row) for row in scene().grid.features.tolist()}
    assert {tuple(row) for row in mixed.grid.features.tolist()} <= known


def test_decoys_fill_at_most_the_whole_map() -> None:
    assert len(guarded("decoys,share=100").grid) == 2 * 4 * 6


def test_drop_people_drops_their_keypoints_and_their_cells_where_asked() -> None:
    assert positions(guarded("drop_people", found())) == [[0.6, 0.9, 0.9], [4.2, -1.5, 0.0]]
    assert cells(guarded("drop_people", found())) == COORDS
    assert cells(guarded("drop_people,drops_cells=true", found())) == [[0, 0, 0], [0, 2, 3], [1, 0, 0]]
    assert len(positions(guarded("drop_people", found(label=0)))) == 3  # a car


def test_snapping_moves_keypoints_to_the_middles_of_cells() -> None:
    assert positions(guarded("keypoint_snap")) == [[3.5, -1.5, 0.0], [0.5, 0.5, 0.0], [4.5, -1.5, 0.0]]
    assert positions(guarded("keypoint_snap,parts=2"))[2] == [4.0, -1.5, 0.0]


def test_jitter_has_the_standard_deviation_asked_for() -> None:
    many = SetFeatures(positions=torch.zeros((20_000, 3)), features=torch.zeros((20_000, 1)))
    features = SceneFeatures(grid=scene().grid, keypoints=many, split_layer="conv_out", backbone_hash="a0" * 32)
    moved = guarded("keypoint_jitter,sigma_m=0.25", features=features).keypoints
    assert moved is not None
    assert float(moved.positions.std()) == pytest.approx(0.25, rel=0.02)
    assert abs(float(moved.positions.mean())) < 0.01


def test_noise_clips_every_vector_and_adds_what_epsilon_asks_for() -> None:
    config = GaussianNoiseConfig(clip_norm=2.0, epsilon=1e4, vectors=1)
    quiet = guarded("noise,clip_norm=2.0,epsilon=10000.0,vectors=1").grid.features
    clipped = torch.tensor([[1.0, 0.0], [1.2, 1.6], [0.0, 2.0], [math.sqrt(2), math.sqrt(2)]])
    assert float((quiet - clipped).abs().max()) < 6 * config.sigma < 0.5
    wide = SceneFeatures(
        grid=GridFeatures(
            coords=torch.tensor([[0, 0, 0]], dtype=torch.int32), features=torch.zeros((1, 20_000)), shape=(1, 1, 1)
        ),
        split_layer="conv_out",
        backbone_hash="a0" * 32,
    )
    loud = guarded("noise,clip_norm=1.0,epsilon=1.0,delta=1e-5,vectors=4", features=wide).grid.features
    # Balle and Wang's noise at (1, 1e-5) is 3.7306 of the sensitivity, which is 2 x 1.0 x sqrt(4).
    assert float(loud.std()) == pytest.approx(3.7306 * 4, rel=0.02)


def test_several_releases_cost_as_much_as_one_with_the_root_of_their_number() -> None:
    once = GaussianNoiseConfig(clip_norm=1.0)
    assert GaussianNoiseConfig(clip_norm=1.0, releases=9).sigma == pytest.approx(3 * once.sigma)


@pytest.mark.parametrize("given", ["crop_boxes", "drop_people"])
def test_guards_that_need_detections_say_so(given: str) -> None:
    assert guards.build(given).needs_detections
    with pytest.raises(InvalidValueError, match="own detections"):
        guarded(given)


@pytest.mark.parametrize("given", ["crop_corridor", "keypoint_snap", "crop_boxes"])
def test_guards_that_need_a_context_say_so(given: str) -> None:
    with pytest.raises(InvalidValueError, match=given):
        guards.build(given).apply(scene(), torch.Generator())


@pytest.mark.parametrize(
    "given",
    [
        "noise,epsilon=0",
        "noise,delta=1.0",
        "channels,share=2",
        "coarse,side=0",
        "decoys,share=-1",
        "keypoint_snap,parts=0",
        "keypoint_jitter,sigma_m=-1",
        "crop_boxes,margin_m=nan",
        "crop_corridor,reach_m=-1",
        "drop_people,margin_m=-1",
    ],
)
def test_settings_out_of_range_are_refused(given: str) -> None:
    with pytest.raises(ConfigError, match=given.partition(",")[0]):
        guards.build(given)
