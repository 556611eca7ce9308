from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from server.training.labelled_preparation import object_database
from server.training.preparation import prepare
from server.training.processes import Processes
from server.training.splits import make_split, save_split
from shared_models.datasets import open_dataset
from shared_models.errors import InvalidValueError
from tests.small_runs import make_loop, small_run, write_frames

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
        # Augmentation turns some of the three objects of a frame out of the range.
        assert all(1 <= len(truth) <= 3 for truth in step.truths)
        low, high = np.array(recipe.setup.range_m[:3]), np.array(recipe.setup.range_m[3:])
        assert all(((t.boxes[:, :3] >= low) & (t.boxes[:, :3] <= high)).all() for t in step.truths)


def test_an_object_turned_into_the_range_keeps_its_label(root: Path, tmp_path: Path) -> None:
    """Labels are cut to the range after augmentation: an object that a flip brings in is no background."""
    override = "detector.override={voxels={point_range_m=[0.0, 0.0, -3.0, 12.8, 6.4, 1.0]}}"
    run = small_run(root, "augmentation.order=['flip']", "augmentation.flip.along_x_probability=1.0", override)
    recipe = prepare(run, tmp_path, Processes(), CPU)
    with recipe.batches(range(3)) as batches:
        steps = [recipe.compose(prepared) for prepared in batches]
    raw = {scan.frame_id: scan.truth.boxes for scan in recipe.setup.labelled}
    outside = 0
    for step in steps:
        for frame_id, truth in zip(step.frame_ids, step.truths, strict=True):
            expected = raw[frame_id][(raw[frame_id][:, 1] <= 0) & (raw[frame_id][:, 1] >= -6.4)]
            np.testing.assert_allclose(truth.boxes[:, 1], -expected[:, 1])
            outside += int((expected[:, 1] < 0).sum())
    assert outside > 0


def test_the_database_holds_objects_of_the_manifests_labelled_frames_only(root: Path, tmp_path: Path) -> None:
    frame_ids = open_dataset("kitti", root).frame_ids
    split = make_split(frame_ids, 0.5, 3, "kitti")
    manifest = tmp_path / "split.json"
    save_split(split, manifest)
    changes = (f"data.labelled.manifest='{manifest}'", "data.labelled.part='labelled'")
    setup = prepare(small_run(root, *changes), tmp_path, Processes(), CPU).setup
    database = object_database(setup, min_points=1)
    assert set(database.object_frames) == set(split.frame_ids)
    assert len(database) > 0
    # A mistake in choosing frames shows: the names come from the manifest, not from the frames that were chosen.
    wrong = replace(setup, labelled=prepare(small_run(root), tmp_path, Processes(), CPU).setup.labelled)
    with pytest.raises(InvalidValueError, match="not in the labelled split"):
        object_database(wrong, min_points=1)


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


def test_a_frozen_vehicle_part_keeps_every_bit_while_the_rest_learns(root: Path, tmp_path: Path) -> None:
    changes = ("loop.steps=2", "optimiser.learning_rate=0.01", "settings.freeze_vehicle_part=true")
    loop = make_loop(small_run(root, *changes), tmp_path)
    detector = loop._recipe.setup.detector
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    loop.run()
    changed = {name for name, value in detector.state_dict().items() if not torch.equal(before[name], value)}
    assert not {name for name in changed if name.startswith(detector.vehicle_parts)}
    assert {"dense_head.conv_cls.weight", "dense_head.conv_box.weight"} <= changed
