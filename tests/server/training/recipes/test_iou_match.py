"""3DIoUMatch: boxes carried into the student's frame, its loss terms, and that no unlabelled label is learned from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from server.training.objective import TermSelection
from server.training.preparation import prepare
from server.training.processes import Processes
from server.training.pseudo_labels import choose
from server.training.recipes.iou_match import IouMatchConfig
from server.training.run_folder import RunFolder
from shared_models.errors import ConfigError, InvalidValueError
from tests.small_runs import digest, make_loop, saved_tensors, small_run, write_frames
from tests.unlabelled_runs import CPU, EASY, PV_RCNN, steps_of, unlabelled_run


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("frames")
    return write_frames(folder / "labelled", 3), write_frames(folder / "unlabelled", 4, points=500, empty=(2,))


def run_of(roots, *changes: str):
    return unlabelled_run("iou_match", *roots, "loop.steps=3", *EASY, *changes)


def recipe_of(run, data: Path):
    recipe = prepare(run, data, Processes(), CPU)
    recipe.training_mode()
    return recipe


def test_pseudo_boxes_are_carried_into_the_students_frame(roots, tmp_path: Path) -> None:
    """Mirrored, turned by at most a quarter of pi and scaled: worked out by hand from the points."""
    augmentation = "settings.augmentation={order=['flip', 'rotation', 'scaling'], flip={along_x_probability=1.0}}"
    run = run_of(roots, augmentation)
    recipe = recipe_of(run, tmp_path)
    dataset = recipe._streams._prepare[1].frames
    boxes_seen = 0
    for step in steps_of(recipe, range(2)):
        for frame_id, points, truth in zip(step.frame_ids[2:], step.scans[2:], step.truths[2:], strict=True):
            raw = dataset.scan(frame_id).points
            if not len(raw):
                assert len(points) == 0
                continue
            teacher = recipe._teacher.detector
            (candidates,) = teacher.candidates(teacher.extract_batch([torch.from_numpy(raw)]))
            expected = choose(candidates, recipe.config.pseudo_labels)
            mirrored, moved = raw[:, 0] - 1j * raw[:, 1], points[:, 0].numpy() + 1j * points[:, 1].numpy()
            factor = np.median(np.abs(moved) / np.abs(mirrored))
            angle = np.angle(np.sum(moved * mirrored.conj()))
            assert 0.95 <= factor <= 1.05
            centres = (expected.boxes[:, 0] - 1j * expected.boxes[:, 1]) * factor * np.exp(1j * angle)
            # What has left the detector's range by the turn is not learned from.
            x, y, z = centres.real, centres.imag, expected.boxes[:, 2] * factor
            low_x, low_y, low_z, high_x, high_y, high_z = recipe.setup.range_m
            is_seen = (x >= low_x) & (x <= high_x) & (y >= low_y) & (y <= high_y) & (z >= low_z) & (z <= high_z)
            centres, expected = centres[is_seen], expected.chosen(is_seen)
            np.testing.assert_allclose(truth.boxes[:, 0] + 1j * truth.boxes[:, 1], centres, atol=1e-3)
            np.testing.assert_allclose(truth.boxes[:, 2:6], expected.boxes[:, 2:6] * factor, rtol=1e-4)
            turned = np.exp(1j * (truth.boxes[:, 6] - (angle - expected.boxes[:, 6])))
            np.testing.assert_allclose(turned, 1, atol=1e-3)
            assert not truth.is_exact.any()
            boxes_seen += len(truth)
    assert boxes_seen > 10


def test_the_terms_of_unlabelled_scans(roots, tmp_path: Path) -> None:
    """SECOND-IoU: only what serves boxes (supplement, Table 4). PV-RCNN: as the published code."""
    (step,) = steps_of(recipe_of(run_of(roots), tmp_path), range(1))
    assert step.terms[:2] == (TermSelection(), TermSelection())
    none = TermSelection(classification="none", roi_iou="none", points="none")
    assert step.terms[2:] == (none, none)
    (step,) = steps_of(recipe_of(run_of(roots, "settings.all_terms=true"), tmp_path), range(1))
    assert step.terms[2] == replace(none, classification="all")
    (step,) = steps_of(recipe_of(run_of(roots, *PV_RCNN), tmp_path), range(1))
    assert step.terms[2] == TermSelection(roi_iou="none", points="none")
    assert step.weights == (0.5,) * 4


def test_the_teacher_follows_weights_and_statistics_of_the_whole_detector(roots, tmp_path: Path) -> None:
    loop = make_loop(run_of(roots, "loop.steps=2", "optimiser.learning_rate=0.01"), tmp_path)
    recipe = loop._recipe
    before = {name: value.clone() for name, value in recipe._teacher.detector.state_dict().items()}
    loop.run()
    after, student = recipe._teacher.detector.state_dict(), recipe.setup.detector.state_dict()
    inside = [name for name in before if name.startswith("backbone_3d.") and before[name].is_floating_point()]
    changed = [name for name in inside if not torch.equal(before[name], after[name])]
    assert set(changed) == {name for name in inside if not torch.equal(before[name], student[name])}
    assert any(name.endswith("running_mean") for name in changed)


def test_labels_of_unlabelled_frames_change_nothing(roots, tmp_path: Path) -> None:
    def weights(data: Path) -> str:
        run = run_of(roots, "loop.steps=2")
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
    run = run_of(roots, *changes)
    for data, stops in ((tmp_path / "whole", (0,)), (tmp_path / "parts", (1, 0))):
        for stop in stops:
            make_loop(replace(run, loop=replace(run.loop, stop_after=stop)), data).run()
    states = [saved_tensors(RunFolder.of(data, run).state) for data in (tmp_path / "whole", tmp_path / "parts")]
    assert digest(states[0]) == digest(states[1])


def test_numbers(roots, tmp_path: Path) -> None:
    recipe = recipe_of(run_of(roots), tmp_path)
    steps = steps_of(recipe, range(2))
    numbers = recipe.after_step(1)
    assert numbers["pseudo/boxes"] >= sum(len(truth) for step in steps for truth in step.truths[2:]) / 4 > 0
    assert numbers["teacher/gap"] == 0
    assert recipe.steps_per_epoch == 8  # 3 frames, 5 times, 2 a step


def test_what_does_not_fit_is_refused(roots, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.unlabelled is missing"):
        prepare(small_run(roots[0], "recipe=iou_match"), tmp_path, Processes(), CPU)
    with pytest.raises((ConfigError, InvalidValueError), match="ground_truth_sampling is for labelled scans only"):
        run_of(roots, "settings.augmentation.order=['ground_truth_sampling']")
    with pytest.raises(InvalidValueError, match="unlabelled_ratio"):
        IouMatchConfig(unlabelled_ratio=0)
