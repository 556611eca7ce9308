"""Guards that find nothing to change are warned of, once."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from shared_models import guards
from shared_models.guard import GuardContext
from shared_models.guards.watch import GuardWatch, is_same
from shared_models.records import Detections, GridFeatures, SceneFeatures, SetFeatures

NOBODY = Detections(
    boxes=torch.zeros(0, 7),
    scores=torch.zeros(0),
    labels=torch.zeros(0, dtype=torch.int64),
    class_names=("Pedestrian",),
)
CONTEXT = GuardContext(first_centre_m=(0.4, 0.4, 0.4), cell_size_m=(0.8, 0.8, 0.8), detections=NOBODY)


def features(keypoints: bool = False) -> SceneFeatures:
    coords = torch.tensor([[0, 1, 2], [0, 3, 3]], dtype=torch.int32)
    grid = GridFeatures(coords=coords, features=torch.arange(8.0).reshape(2, 4) + 1, shape=(1, 5, 5))
    points = SetFeatures(positions=torch.rand(6, 3), features=torch.ones(6, 4)) if keypoints else None
    return SceneFeatures(grid=grid, keypoints=points, split_layer="conv_out", backbone_hash="ab" * 32)


def watched(name: str, scenes: int, keypoints: bool = False, patience: int = 5) -> GuardWatch:
    watch = GuardWatch(guards.build(name), patience)
    for _ in range(scenes):
        watch.apply(features(keypoints), torch.Generator().manual_seed(0), CONTEXT)
    return watch


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("name", ["none", "decoys", "coarse,side=4+noise", "keypoint_snap+channels", "none+decoys"])
def test_what_it_gives_is_what_the_guard_gives(name: str) -> None:
    given, guard = features(keypoints=True), guards.build(name)
    one = GuardWatch(guard).apply(given, torch.Generator().manual_seed(3), CONTEXT)
    other = guard.apply(given, torch.Generator().manual_seed(3), CONTEXT)
    assert is_same(one, other)
    assert one.guard == other.guard


def test_a_guard_of_keypoints_is_warned_of_at_once_where_there_are_none(caplog: pytest.LogCaptureFixture) -> None:
    watch = watched("keypoint_jitter", scenes=1)
    (told,) = warnings(caplog)
    assert "keypoint_jitter,sigma_m=0.1: it changes keypoints only, and this detector has none" in told
    watch.finish()
    assert len(warnings(caplog)) == 1
    assert (watch.scenes, watch.changed) == (1, 0)


def test_a_guard_that_does_something_is_not(caplog: pytest.LogCaptureFixture) -> None:
    watch = watched("keypoint_jitter+decoys", scenes=8, keypoints=True)
    watch.finish()
    assert warnings(caplog) == []
    assert (watch.scenes, watch.changed) == (8, 8)


def test_each_idle_part_of_a_chain_is_named(caplog: pytest.LogCaptureFixture) -> None:
    watch = watched("keypoint_snap+decoys+coarse,side=1", scenes=5)
    watch.finish()
    assert [text.split(": ")[1] for text in warnings(caplog)] == ["keypoint_snap,parts=1", "coarse,side=1"]
    assert watch.changed == 5


def test_people_that_are_never_found(caplog: pytest.LogCaptureFixture) -> None:
    watched("drop_people", scenes=4, keypoints=True)
    assert warnings(caplog) == []
    watched("drop_people", scenes=7, keypoints=True)
    (told,) = warnings(caplog)
    assert "it has changed none of 5 scenes" in told


def test_a_short_run_is_told_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    watch = watched("drop_people", scenes=2, keypoints=True)
    watch.finish()
    watch.finish()
    (told,) = warnings(caplog)
    assert "it has changed none of 2 scenes" in told


def test_no_guard_and_no_scenes_are_nothing_to_warn_of(caplog: pytest.LogCaptureFixture) -> None:
    watched("none", scenes=9).finish()
    watched("decoys", scenes=0).finish()
    assert warnings(caplog) == []


def test_what_counts_as_the_same() -> None:
    given = features(keypoints=True)
    assert given.keypoints is not None
    assert is_same(given, replace(given, guard="noise"))
    assert not is_same(given, replace(given, keypoints=None))
    assert not is_same(given, replace(given, grid=replace(given.grid, features=given.grid.features + 1)))
    assert not is_same(
        given, replace(given, keypoints=replace(given.keypoints, positions=given.keypoints.positions + 1))
    )
