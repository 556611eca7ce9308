from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from server.training.preparation import prepare
from server.training.processes import Processes
from shared_models.errors import InvalidValueError
from tests.small_runs import small_run, write_frames

CPU = torch.device("cpu")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "kitti", 6)


def test_every_frame_comes_once_an_epoch(root: Path, tmp_path: Path) -> None:
    recipe = prepare(small_run(root), tmp_path, Processes(), CPU)
    assert recipe.steps_per_epoch == 3
    with recipe.batches(range(3)) as batches:
        steps = [recipe.compose(prepared) for prepared in batches]
    seen = [name for step in steps for name in step.frame_ids]
    assert sorted(seen) == sorted(recipe.setup.labelled.frame_ids)
    for step in steps:
        assert step.weights == (0.5, 0.5)
        assert step.stored is None
        assert [len(truth) for truth in step.truths] == [3, 3]


def test_repetition_makes_longer_epochs(root: Path, tmp_path: Path) -> None:
    assert prepare(small_run(root, "settings.repeat=5"), tmp_path, Processes(), CPU).steps_per_epoch == 15


def test_the_share_of_a_process(root: Path, tmp_path: Path) -> None:
    run = small_run(root, "loop.batch_size=4")
    places = []
    for rank in range(2):
        recipe = prepare(run, tmp_path, Processes(rank=rank, count=2), CPU)
        with recipe.batches(range(1)) as batches:
            step = recipe.compose(next(batches))
        assert step.weights == (0.5, 0.5)  # DDP takes the mean over processes
        places += step.places
    assert places == [0, 1, 2, 3]
    with (
        pytest.raises(InvalidValueError, match="a batch of 4 does not divide among 3 processes"),
        prepare(run, tmp_path, Processes(count=3), CPU).batches(range(1)),
    ):
        pass


def test_ground_truth_sampling_takes_objects_of_the_labelled_frames(root: Path, tmp_path: Path) -> None:
    order = "augmentation.order=['ground_truth_sampling']"
    recipe = prepare(small_run(root, order, "settings.database_min_points=1"), tmp_path, Processes(), CPU)
    with recipe.batches(range(3)) as batches:
        steps = [recipe.compose(prepared) for prepared in batches]
    own = np.concatenate([scan.truth.boxes[:, 3:6] for scan in recipe.setup.labelled])
    added = np.concatenate([truth.boxes[:, 3:6] for step in steps for truth in step.truths])
    assert len(added) > len(own)
    assert {tuple(size) for size in added} <= {tuple(size) for size in own}
