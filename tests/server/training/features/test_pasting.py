from __future__ import annotations

import numpy as np
import pytest
import torch

from server.training.features.pasting import fill_up, merge_rows, paste_keypoints, take_rows
from shared_models.records import SetFeatures
from tests.feature_scenes import make_keypoints
from tests.labelled_scenes import is_inside

BOXES = np.array([[10, 0, -0.5, 12, 12, 4, 0.3], [25, 8, -0.5, 10, 6, 4, -1]], np.float32)


def objects(count: int) -> SetFeatures:
    positions = torch.from_numpy(np.repeat(BOXES[:1, :3], count, axis=0))
    return SetFeatures(positions=positions, features=torch.arange(count).float()[:, None].expand(count, 5) + 10)


def paste(scene: SetFeatures, added: SetFeatures, count: int, boxes=BOXES) -> SetFeatures:
    return paste_keypoints(scene, boxes, added, count, np.random.default_rng(0))


def rows(keypoints: SetFeatures) -> list[bytes]:
    together = torch.cat((keypoints.positions, keypoints.features), 1).numpy()
    return [row.tobytes() for row in together]


def background(scene: SetFeatures) -> set[bytes]:
    covered = np.any([is_inside(scene.positions.numpy(), box) for box in BOXES], axis=0)
    assert 20 < covered.sum() < len(scene) - 20
    return {row for row, is_covered in zip(rows(scene), covered, strict=True) if not is_covered}


@pytest.mark.parametrize("added", [0, 5, 200, 299, 300, 301, 700])
def test_exactly_as_many_as_asked_for(added):
    scene, new = make_keypoints(0), objects(added)
    made = paste(scene, new, 300)
    assert len(made) == 300
    kept = [row for row in rows(made) if row in background(scene)]
    brought = [row for row in rows(made) if row in set(rows(new))]
    assert len(kept) + len(brought) == 300  # nothing of what the boxes covered is left
    assert len(set(brought)) == len(brought) == min(added, 300)
    free = len(background(scene))
    if added + free <= 300:
        assert set(kept) == background(scene)  # all of them, some repeated
        assert max(kept.count(row) for row in set(kept)) <= 1 + -(-(300 - added) // free)
    else:
        assert len(set(kept)) == len(kept) == max(300 - added, 0)  # dropped at random, none repeated


def test_where_everything_is_covered_objects_are_repeated():
    whole = np.array([[0, 0, 0, 500, 500, 50, 0]], np.float32)
    made = paste(make_keypoints(0), objects(7), 300, whole)
    assert len(made) == 300
    assert set(rows(made)) == set(rows(objects(7)))
    assert len(paste(make_keypoints(0), objects(0), 300, whole)) == 0
    empty = SetFeatures(positions=torch.empty(0, 3), features=torch.empty(0, 5))
    assert len(paste(empty, objects(3), 300)) == 300
    assert len(paste(empty, objects(0), 300)) == 0


def test_fill_up_repeats_evenly():
    made = fill_up(np.array([4, 7, 9]), 11, np.random.default_rng(0))
    assert sorted(np.unique(made, return_counts=True)[1]) == [3, 4, 4]
    assert len(fill_up(np.array([4]), 0, np.random.default_rng(0))) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_rows_keep_their_dtype(dtype):
    old, new = torch.arange(8).view(4, 2).to(dtype), -torch.arange(4).view(2, 2).float()
    keys, source = merge_rows(torch.tensor([3, 9]), torch.tensor([0, 2]), torch.tensor([12, 5]))
    assert keys.tolist() == [3, 5, 9, 12]
    assert source.tolist() == [0, -2, 2, -1]
    taken = take_rows(old, new, source)
    assert taken.dtype == dtype
    assert taken.tolist() == [[0, 1], [-2, -3], [4, 5], [0, -1]]
    assert take_rows(old[:0], new, torch.tensor([-2])).tolist() == [[-2, -3]]
