"""ST3D: rounds of pseudo labels, their memory, the curriculum, and that no label of the target is learned from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from server.training.labelled_data import in_range
from server.training.preparation import prepare
from server.training.processes import Processes
from server.training.pseudo_labels import PseudoLabelConfig
from server.training.recipes import st3d as module
from server.training.recipes.st3d import St3dConfig
from server.training.run_folder import RunFolder
from shared_models.errors import ConfigError
from tests.small_runs import digest, make_loop, saved_tensors, small_run, write_frames
from tests.unlabelled_runs import CPU, EASY, PV_RCNN, steps_of, unlabelled_run


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("frames")
    return write_frames(folder / "labelled", 1), write_frames(folder / "target", 4, points=500, empty=(2,))


def run_of(roots, *changes: str):
    """Two steps an epoch, a new round every epoch."""
    return unlabelled_run("st3d", *roots, "loop.steps=3", "settings.refresh_epochs=1", *EASY, *changes)


def recipe_of(run, data: Path, rank: int = 0, count: int = 1):
    recipe = prepare(run, data, Processes(rank=rank, count=count), CPU)
    recipe.training_mode()
    return recipe


def memory_of(recipe) -> str:
    state = recipe.state()["memory"]
    return digest({f"{frame}/{name}": value for frame, own in state.items() for name, value in own.items()})


def test_only_the_targets_scans_are_learned_from(roots, tmp_path: Path) -> None:
    recipe = recipe_of(run_of(roots, "settings.augmentation.order=[]"), tmp_path)
    steps = steps_of(recipe, range(2))
    assert recipe.steps_per_epoch == 2
    assert sorted(name for step in steps for name in step.frame_ids) == [f"training-{n:06d}" for n in range(4)]
    for step in steps:
        for frame_id, truth in zip(step.frame_ids, step.truths, strict=True):
            np.testing.assert_array_equal(
                truth.boxes, in_range(recipe._memory[frame_id].truth, recipe.setup.range_m).boxes
            )
            assert not truth.is_exact.any()
    known = [found.truth for found in recipe._memory.values()]
    boxes = sum(int((~truth.is_ignored).sum()) for truth in known)
    assert boxes > 10
    numbers = recipe.after_step(2)
    assert numbers["pseudo/boxes"] == boxes / 4
    assert numbers["pseudo/ignored"] == sum(int(truth.is_ignored.sum()) for truth in known) / 4


def test_a_round_begins_every_so_many_epochs(roots, tmp_path: Path, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(module.St3d, "_refresh", lambda self: (seen.append(self._round), original(self))[1])
    steps_of(recipe_of(run_of(roots, "settings.refresh_epochs=2"), tmp_path), range(10))
    assert seen == [-1, 0, 1]  # before steps 0, 4 and 8


original = module.St3d._refresh


def test_the_memory_joins_rounds(roots, tmp_path: Path, monkeypatch) -> None:
    recipe = recipe_of(run_of(roots), tmp_path)
    steps_of(recipe, range(1))
    first = {name: len(found.truth) for name, found in recipe._memory.items()}
    monkeypatch.setattr(recipe, "config", replace(recipe.config, pseudo_labels=PseudoLabelConfig(class_score=1.0)))
    recipe._refresh()  # nothing is found any more, and nothing is forgotten at once
    assert {name: len(found.truth) for name, found in recipe._memory.items()} == first
    assert all((found.misses == 1).all() for found in recipe._memory.values())
    monkeypatch.setattr(recipe, "config", replace(recipe.config, has_memory=False))
    recipe._refresh()
    assert sum(len(found.truth) for found in recipe._memory.values()) == 0


def test_every_process_has_the_same_memory(roots, tmp_path: Path) -> None:
    recipes = [recipe_of(run_of(roots), tmp_path, rank, 2) for rank in range(2)]
    steps = [steps_of(recipe, range(4))[3] for recipe in recipes]
    assert not set(steps[0].frame_ids) & set(steps[1].frame_ids)
    assert memory_of(recipes[0]) == memory_of(recipes[1])
    assert recipes[0].after_step(4) == recipes[1].after_step(4)


def test_the_curriculum_grows(roots, tmp_path: Path) -> None:
    recipe = recipe_of(run_of(roots), tmp_path)
    assert recipe._strengthened(4) == recipe.config.augmentation
    grown = recipe._strengthened(20)  # the third of 5, 10, 20, 25
    assert grown.rotation.max_rad == pytest.approx(np.pi / 4 * 1.1**3)
    assert grown.scaling.high == pytest.approx(1 + 0.03 * 1.1**3)
    assert grown.object_noise.max_rad == pytest.approx(0.385 * 1.1**3)
    default = St3dConfig().augmentation
    assert (default.scaling.low, default.scaling.high) == (0.97, 1.03)
    assert default.order[0] == "object_noise"


def test_labels_of_the_target_change_nothing(roots, tmp_path: Path) -> None:
    def weights(data: Path) -> str:
        run = run_of(roots, "loop.steps=3")
        make_loop(run, data).run()
        return digest(saved_tensors(RunFolder.of(data, run).state))

    expected = weights(tmp_path / "as it is")
    files = sorted((roots[1] / "training/label_2").glob("*.txt"))
    texts = [file.read_text() for file in files]
    try:
        for file, text in zip(files, texts[1:] + texts[:1], strict=True):
            file.write_text(text.replace("Car", "Cyclist"))
        assert weights(tmp_path / "shuffled") == expected
        for file in files:
            file.unlink()
        assert weights(tmp_path / "removed") == expected
    finally:
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)


@pytest.mark.parametrize("changes", [(), PV_RCNN], ids=["second_iou", "pv_rcnn"])
def test_a_resumed_run_is_bit_for_bit_the_same(roots, tmp_path: Path, changes) -> None:
    """Stopped in the middle of a round and at its end."""
    run = run_of(roots, *changes)
    for data, stops in ((tmp_path / "whole", (0,)), (tmp_path / "parts", (1, 2, 0))):
        for stop in stops:
            make_loop(replace(run, loop=replace(run.loop, stop_after=stop)), data).run()
    states = [saved_tensors(RunFolder.of(data, run).state) for data in (tmp_path / "whole", tmp_path / "parts")]
    assert any("/memory/training-000000/boxes" in name for name in states[0])
    assert digest(states[0]) == digest(states[1])


def test_the_detector_is_trained_as_a_whole(roots, tmp_path: Path) -> None:
    loop = make_loop(run_of(roots, "loop.steps=2", "settings.augmentation.order=[]"), tmp_path)
    detector = loop._recipe.setup.detector
    before = {name: value.clone() for name, value in detector.named_parameters()}
    loop.run()
    still = [name for name, value in detector.named_parameters() if torch.equal(value, before[name])]
    assert still == []


def test_what_does_not_fit_is_refused(roots, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.unlabelled is missing"):
        prepare(small_run(roots[0], "recipe=st3d"), tmp_path, Processes(), CPU)
    with pytest.raises(ConfigError, match="no labelled objects of the target domain"):
        run_of(roots, "settings.augmentation.order=['ground_truth_sampling']")
