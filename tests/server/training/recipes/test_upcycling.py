"""UpCycling: what each step is made of, what stays frozen, and that no label of an unlabelled scene is learned from."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from server.repositories.archive import open_archive
from server.repositories.pseudonym import vehicle_tag
from server.training.array_geometry import overlaps_bev
from server.training.objective import TermSelection
from server.training.preparation import make_detector, prepare
from server.training.processes import Processes
from server.training.pseudo_labels import choose
from server.training.run_folder import RunFolder
from server.training.samples import Truth
from server.training.seen_scenes import FILE, SeenScenes
from server.training.sources import open_source
from server.training.upcycling_config import UpcyclingConfig
from shared_models import checkpoints
from shared_models.configuration import from_dict
from shared_models.errors import ConfigError, DatasetError, InvalidValueError, StorageError
from tests.small_runs import digest, make_loop, saved_tensors, small_run, write_frames
from tests.unlabelled_runs import EASY, PV_RCNN, same_steps, state_tensors, steps_of, unlabelled_run, upcycling_recipe
from upcycle.fill_store import fill_for, fill_store, give_known_labels
from vehicle_client.extractor import Extractor, ExtractorConfig
from vehicle_client.pipeline import encode_scene

NOTHING_SURE = ("settings.pseudo_labels.class_score=1.0", "settings.pseudo_labels.box_score=[1.0]")


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("frames")
    return write_frames(folder / "labelled", 3), write_frames(folder / "unlabelled", 5, points=500)


def run_of(roots, *changes: str):
    return unlabelled_run("upcycling", *roots, "loop.steps=3", *EASY, *changes)


def trained(run, data: Path) -> dict[str, torch.Tensor]:
    fill_for(run, data)
    make_loop(run, data).run()
    return saved_tensors(RunFolder.of(data, run).state)


@pytest.mark.parametrize("changes", [(), PV_RCNN], ids=["second_iou", "pv_rcnn"])
def test_the_vehicle_part_keeps_every_bit_while_the_rest_learns(roots, tmp_path: Path, changes) -> None:
    run = run_of(roots, *changes, "optimiser.learning_rate=0.01")
    fill_for(run, tmp_path)
    loop = make_loop(run, tmp_path)
    detector, hash_before = loop._recipe.setup.detector, loop._recipe.setup.detector.backbone_hash
    before = state_tensors(loop._recipe)
    loop.run()
    after = state_tensors(loop._recipe)
    inside = {name for name in before if name.startswith(detector.vehicle_parts)}
    assert any(name.endswith("running_mean") for name in inside)
    assert [name for name in inside if not torch.equal(before[name], after[name])] == []
    assert detector.backbone_hash == hash_before
    outside = set(before) - inside
    moved = {name for name in outside if not torch.equal(before[name], after[name])}
    # Direction bins, class and box layers, and the statistics of every norm behind the cut.
    assert {name for name in outside if name.endswith("running_mean")} <= moved
    assert {"dense_head.conv_cls.weight", "dense_head.conv_box.weight", "dense_head.conv_dir_cls.weight"} <= moved
    assert "point_head.cls_layers.0.weight" in moved or not changes


def test_a_step_has_labelled_scans_and_stored_features(roots, tmp_path: Path) -> None:
    recipe = upcycling_recipe(run_of(roots, "settings.unlabelled_ratio=2"), tmp_path)
    scenes = {scene.scene_id: scene for scene in recipe._store.scenes}
    (step,) = steps_of(recipe, range(1))
    assert len(step.scans) == 2
    assert len(step.stored) == 4
    assert set(step.frame_ids[:2]) <= set(recipe.setup.labelled.frame_ids)
    assert set(step.frame_ids[2:]) <= set(scenes)
    assert step.weights == (0.5, 0.5, 0.25, 0.25, 0.25, 0.25)
    assert step.terms[:2] == (TermSelection(), TermSelection())
    assert step.terms[2].classification == "exact_and_background"
    assert all(truth.is_exact.all() for truth in step.truths[:2])


def test_the_teacher_sees_features_as_they_were_sent_and_the_student_augmented_ones(roots, tmp_path: Path) -> None:
    recipe = upcycling_recipe(run_of(roots, "settings.pseudo_labels.box_score=[0.5]"), tmp_path)
    teacher, seen = recipe._teacher.detector, []
    candidates = teacher.candidates
    teacher.candidates = lambda batch: (seen.append(batch), candidates(batch))[1]
    steps = steps_of(recipe, range(3))
    numbers = {scene.scene_id: number for number, scene in enumerate(recipe._store.scenes)}
    pasted = 0
    for step, batch in zip(steps, seen, strict=True):
        for place, scene_id in enumerate(step.frame_ids[2:]):
            sent = recipe._store.features(numbers[scene_id]).grid
            assert torch.equal(batch.grid.scan(place).features, sent.features)
            assert torch.equal(batch.grid.scan(place).coords, sent.coords)
            count = int(step.truths[2 + place].is_exact.sum())
            assert torch.equal(step.stored.grid.scan(place).features, sent.features) == (count == 0)
            pasted += count
    assert pasted > 0


@pytest.mark.parametrize("changes", [(), PV_RCNN], ids=["second_iou", "pv_rcnn"])
def test_pasted_objects_and_pseudo_boxes_never_meet(roots, tmp_path: Path, changes) -> None:
    run = run_of(roots, *changes, "settings.pseudo_labels.box_score=[0.45]", "settings.pseudo_labels.ignore_from=0.3")
    recipe = upcycling_recipe(run, tmp_path)
    pairs = 0
    for step in steps_of(recipe, range(6)):
        for truth in step.truths[2:]:
            exact, pseudo = truth.boxes[truth.is_exact], truth.boxes[~truth.is_exact]
            assert not overlaps_bev(exact, pseudo).any()
            own = overlaps_bev(exact, exact)
            assert own.sum() == len(exact)
            assert not truth.is_ignored[truth.is_exact].any()
            pairs += len(exact) * len(pseudo)
    assert pairs > 0


@pytest.mark.parametrize("changes", [(), PV_RCNN], ids=["second_iou", "pv_rcnn"])
@pytest.mark.parametrize("order", ["['none']", "['fgt']"])
def test_scenes_without_pseudo_boxes_are_kept_and_harmless(roots, tmp_path: Path, changes, order: str) -> None:
    run = run_of(roots, *changes, *NOTHING_SURE, f"settings.features.order={order}")
    fill_for(run, tmp_path)
    loop, losses = make_loop(run, tmp_path), []
    loop._progress = lambda step, total, numbers: losses.append(numbers)
    loop.run()
    assert [numbers["pseudo/boxes"] for numbers in losses] == [0.0] * 3
    assert [numbers["pseudo/scenes_without"] for numbers in losses] == [1.0] * 3
    assert all(math.isfinite(value) for numbers in losses for value in numbers.values())
    recipe = upcycling_recipe(run, tmp_path)
    (step,) = steps_of(recipe, range(1))
    assert len(step.stored) == 2
    assert all(truth.is_exact.all() for truth in step.truths[2:])
    if order == "['none']":
        _, terms, _ = loop._module(step)
        loop._module.zero_grad()
        alone = replace(step, weights=(0.0, 0.0, 1.0, 1.0))
        _, terms, _ = loop._module(alone)
        assert terms["box"] == terms["direction"] == 0  # no box, no box to learn; background only
        assert terms["classification"] >= 0


def test_the_three_readings_of_hybrid() -> None:
    joined = UpcyclingConfig().selection
    assert (joined.classification, joined.roi_iou, joined.points) == ("exact_and_background",) * 3
    assert (joined.box, joined.direction, joined.roi_box) == ("all",) * 3
    assert UpcyclingConfig(hybrid="class_and_box").selection == TermSelection()
    exact = UpcyclingConfig(hybrid="exact_boxes").selection
    assert (exact.classification, exact.roi_iou, exact.points) == ("all",) * 3
    assert (exact.box, exact.direction, exact.roi_box) == ("exact",) * 3
    own = TermSelection(classification="none")
    assert UpcyclingConfig(terms=own).selection == own
    with pytest.raises(InvalidValueError, match="hybrid: expected one of joined, class_and_box, exact_boxes, got 'x'"):
        UpcyclingConfig(hybrid="x")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="hybrid"):
        from_dict(UpcyclingConfig, {"hybrid": "both"})


def test_the_weight_of_unlabelled_scenes_rises_to_lambda(roots, tmp_path: Path) -> None:
    recipe = upcycling_recipe(run_of(roots, "settings.unlabelled_weight=0.8", "settings.warm_up_steps=4"), tmp_path)
    steps = steps_of(recipe, range(6))
    assert [step.weights[:2] for step in steps] == [(0.5, 0.5)] * 6
    expected = [0.1, 0.2, 0.3, 0.4, 0.4, 0.4]  # 0.8 x min(1, (step + 1) / 4) / 2 scenes
    assert [step.weights[2] for step in steps] == pytest.approx(expected)
    without = run_of(roots, "settings.unlabelled_weight=0.0")
    off = upcycling_recipe(without, tmp_path)
    assert steps_of(off, range(1))[0].weights == (0.5, 0.5, 0.0, 0.0)


@pytest.mark.parametrize("alternative", ["flip", "noise", "rs", "rotation", "frot"])
def test_the_alternatives_change_features_and_carry_pseudo_boxes_along(roots, tmp_path: Path, alternative) -> None:
    recipe = upcycling_recipe(run_of(roots, f"settings.features.order=['{alternative}']"), tmp_path)
    plain = upcycling_recipe(run_of(roots, "settings.features.order=['none']"), tmp_path)
    changed = 0
    for step, same in zip(steps_of(recipe, range(3)), steps_of(plain, range(3)), strict=True):
        assert step.frame_ids == same.frame_ids
        changed += not torch.equal(step.stored.grid.features, same.stored.grid.features)
        for one, other in zip(step.truths[2:], same.truths[2:], strict=True):
            assert len(one) == len(other)
            assert not one.is_exact.any()
            radii = [np.hypot(*truth.boxes[:, :2].T) for truth in (one, other)]
            np.testing.assert_allclose(*radii, rtol=1e-5)  # nothing here scales a scene
    assert changed > 0


def test_shuffled_or_missing_labels_of_the_unlabelled_split_change_nothing(tmp_path: Path) -> None:
    """The leak test, on the way that `upcycle train` takes: known labels are given for telemetry."""
    labelled, unlabelled = write_frames(tmp_path / "labelled", 3), write_frames(tmp_path / "unlabelled", 4)
    run = unlabelled_run("upcycling", labelled, unlabelled, "loop.steps=2", "settings.compare_with_labels=true", *EASY)

    def weights(data: Path) -> tuple[str, list[float]]:
        fill_for(run, data)
        loop, precision = make_loop(run, data), []
        give_known_labels(loop._recipe)
        loop._progress = lambda step, total, numbers: precision.append(numbers["pseudo/precision"])
        loop.run()
        return digest(saved_tensors(RunFolder.of(data, run).state)), precision

    expected, precise = weights(tmp_path / "as it is")
    files = sorted((unlabelled / "training/label_2").glob("*.txt"))
    texts = [file.read_text() for file in files]
    for file, text in zip(files, texts[1:] + texts[:1], strict=True):
        file.write_text(text.replace("Car", "Swap").replace("Cyclist", "Car").replace("Swap", "Cyclist"))
    shuffled, other = weights(tmp_path / "shuffled")
    assert shuffled == expected
    for file in files:
        file.write_text("")
    assert weights(tmp_path / "none")[0] == expected
    assert len(precise) == len(other) == 2
    labelled_file = next((labelled / "training/label_2").glob("*.txt"))
    labelled_file.write_text("")  # those of the labelled split do matter
    assert weights(tmp_path / "labelled changed")[0] != expected


@pytest.mark.parametrize("changes", [(), PV_RCNN], ids=["second_iou", "pv_rcnn"])
def test_a_resumed_run_is_bit_for_bit_the_same_also_when_scenes_have_come_since(roots, tmp_path: Path, changes) -> None:
    run = run_of(roots, *changes)
    run = replace(run, settings={**run.settings, "store": {**run.settings["store"], "vehicle_id": "a-car"}})
    expected = _trained_on_a_car(run, tmp_path / "whole", 4, stop_after=0)
    _trained_on_a_car(run, tmp_path / "parts", 4, stop_after=2)
    assert digest(_trained_on_a_car(run, tmp_path / "parts", 5, stop_after=0)) == digest(expected)
    names = {name.split("/")[2] for name in expected if name.startswith("/recipe/")}
    assert names == {"teacher", "scenes", "is_seen"}


def _trained_on_a_car(run, data: Path, scenes: int, stop_after: int) -> dict[str, torch.Tensor]:
    """Train on the store after a vehicle has sent so many scenes."""
    source, archive = open_source(run.data.unlabelled, with_labels=False), open_archive(data, is_new_allowed=True)
    extractor = Extractor(make_detector(run.detector, run.seed), ExtractorConfig(is_detecting=False))
    for number, frame_id in enumerate(source.frame_ids[:scenes]):
        frame = source.dataset.frame(frame_id)
        archive.add(encode_scene("a-car", frame, extractor.extract(frame).features, "float16"), number + 1)
    archive.close()
    make_loop(replace(run, loop=replace(run.loop, stop_after=stop_after)), data).run()
    return saved_tensors(RunFolder.of(data, run).state)


def test_a_run_whose_scenes_were_deleted_says_so(roots, tmp_path: Path) -> None:
    recipe = upcycling_recipe(run_of(roots), tmp_path)
    state = recipe.state()
    state["scenes"] = torch.cat((state["scenes"], torch.zeros(1, 32, dtype=torch.uint8)))
    with pytest.raises(ConfigError, match="1 of the 6 stored scenes that this run learns from are gone, such as 0000"):
        recipe.load_state(state)


def test_scenes_are_recorded_as_seen_by_all_processes(roots, tmp_path: Path) -> None:
    run = run_of(roots)
    recipe = upcycling_recipe(run, tmp_path)
    tag = vehicle_tag(recipe._store.scenes[0].manifest.vehicle_id)
    assert len(recipe.scenes_seen()) == 0
    steps = steps_of(recipe, range(2))
    seen = {scene_id for step in steps for scene_id in step.frame_ids[2:]}
    assert recipe.scenes_seen().by_vehicle == {tag: seen}
    second = prepare(run, tmp_path, Processes(rank=1, count=2), torch.device("cpu"))
    steps_of(second, range(2))
    assert second.scenes_seen() == recipe.scenes_seen()
    steps_of(recipe, range(2, 3))
    assert len(recipe.scenes_seen()) == 5
    again = upcycling_recipe(run, tmp_path)
    again.load_state(recipe.state())
    assert again.scenes_seen() == recipe.scenes_seen()


def test_scenes_that_the_first_weights_have_seen_are_recorded_too(roots, tmp_path: Path) -> None:
    checkpoint, run = tmp_path / "checkpoint", run_of(roots)
    checkpoints.save(make_detector(run.detector, run.seed).eval(), checkpoint, is_trained=True)
    before = SeenScenes(by_vehicle={"0123abcd": frozenset({"ff" * 32})})
    before.write(checkpoint)
    words = (f"detector.checkpoint={checkpoint}", "detector.override={}")
    recipe = upcycling_recipe(run_of(roots, *words), tmp_path)
    assert recipe.scenes_seen() == before
    steps_of(recipe, range(1))
    assert len(recipe.scenes_seen()) == 3
    supervised = small_run(roots[0], *words)  # every recipe hands it on
    assert prepare(supervised, tmp_path, Processes(), torch.device("cpu")).scenes_seen() == before
    (checkpoint / FILE).write_text("{")
    with pytest.raises(DatasetError, match="take it for one that saw every scene"):
        prepare(supervised, tmp_path, Processes(), torch.device("cpu"))


@pytest.mark.parametrize("changes", [(), PV_RCNN], ids=["second_iou", "pv_rcnn"])
def test_labelled_features_can_go_through_the_guard_too(roots, tmp_path: Path, changes) -> None:
    guarded = run_of(roots, *changes, "settings.store.guard='channels,share=0.5'")
    both = run_of(roots, *changes, "settings.store.guard='channels,share=0.5'", "settings.guard_labelled=true")
    (step,) = steps_of(upcycling_recipe(guarded, tmp_path), range(1))
    assert len(step.scans) == len(step.stored) == 2
    recipe = upcycling_recipe(both, tmp_path)
    (alike,) = steps_of(recipe, range(1))
    assert (len(alike.scans), len(alike.stored)) == (0, 4)
    assert alike.frame_ids == step.frame_ids
    assert [truth.is_exact.sum() for truth in alike.truths[:2]] == [truth.is_exact.sum() for truth in step.truths[:2]]
    detector, labelled = recipe.setup.detector, alike.stored.grid.scan(0)
    with torch.no_grad():
        plain = detector.extract(step.scans[0]).grid
    kept = (labelled.features != 0).any(0)
    assert 0 < int(kept.sum()) <= len(kept) // 2
    assert torch.equal(labelled.coords, plain.coords)
    torch.testing.assert_close(labelled.features[:, kept], plain.features[:, kept])
    bank = recipe._build_bank()
    assert not bank.features[:, ~kept.numpy()].any()
    assert bank.features.any()
    recipe.training_mode()
    unguarded = run_of(roots, *changes, "settings.guard_labelled=true")
    assert len(steps_of(upcycling_recipe(unguarded, tmp_path), range(1))[0].scans) == 2  # there is no guard


def test_numbers_of_each_vehicle(roots, tmp_path: Path) -> None:
    run = run_of(roots, "settings.store.codec=float32", "settings.agreement_every=1", "loop.log_every=100")
    fill_for(run, tmp_path)
    other = replace(run.data.unlabelled, frames=2)
    fill_store(make_detector(run.detector, run.seed), other, tmp_path, "float32")
    recipe = prepare(replace(run, data=replace(run.data, unlabelled=None)), tmp_path, Processes(), torch.device("cpu"))
    vehicles = {scene.scene_id: scene.manifest.vehicle_id for scene in recipe._store.scenes}
    frames = {scene.scene_id: scene.manifest.frame_id for scene in recipe._store.scenes}
    assert len(set(vehicles.values())) == 2
    plain = [choose(c, recipe.config.pseudo_labels) for c in recipe._teacher.detector.candidates(
        recipe._teacher.detector.batch_of([recipe._store.features(n) for n in range(7)]))]  # fmt: skip
    # True labels that are the teacher's own boxes, but for a frame that one vehicle sent, where there is nothing.
    recipe.known_labels = {frames[s.scene_id]: t for s, t in zip(recipe._store.scenes, plain, strict=True)}
    none = Truth.exact(np.zeros((0, 7), np.float32), np.zeros(0, np.int64))
    counts = Counter(frames.values())
    bare = next(s.scene_id for s in recipe._store.scenes if counts[frames[s.scene_id]] == 1)
    recipe.known_labels = {**recipe.known_labels, frames[bare]: none}
    steps = steps_of(recipe, range(7))
    numbers = recipe.after_step(7)
    seen = [scene_id for step in steps for scene_id in step.frame_ids[2:]]
    boxes = {scene.scene_id: len(truth) for scene, truth in zip(recipe._store.scenes, plain, strict=True)}
    for vehicle in set(vehicles.values()):
        own, tag = [s for s in seen if vehicles[s] == vehicle], vehicle_tag(vehicle)
        total = sum(boxes[s] for s in own)
        assert numbers[f"pseudo/boxes/{tag}"] == pytest.approx(total / len(own))
        right = sum(boxes[s] for s in own if s != bare)
        assert numbers[f"pseudo/precision/{tag}"] == pytest.approx(right / total)
        assert numbers[f"pseudo/recall/{tag}"] == 1
        assert numbers[f"teacher/agreement/{tag}"] == 1  # the student has not moved yet
    assert numbers["pseudo/boxes"] == pytest.approx(sum(boxes[s] for s in seen) / len(seen))
    pasted = sum(int(truth.is_exact.sum()) for step in steps for truth in step.truths[2:])
    assert numbers["pseudo/share_pasted"] == pytest.approx(pasted / (pasted + sum(boxes[s] for s in seen)))
    assert numbers["teacher/gap"] == 0


def test_comparing_the_student_changes_nothing_that_is_learned(roots, tmp_path: Path) -> None:
    one, other = (trained(run_of(roots, f"settings.agreement_every={every}"), tmp_path) for every in (1, 0))
    assert digest(one) == digest(other)


def test_pasted_objects_have_the_target_domains_sizes(roots, tmp_path: Path) -> None:
    order = "augmentation.order=['statistical_normalisation']"
    recipe = upcycling_recipe(run_of(roots, order, *NOTHING_SURE), tmp_path)
    plain = upcycling_recipe(run_of(roots, "augmentation.order=[]", *NOTHING_SURE), tmp_path)

    def cars(steps) -> set[tuple[float, ...]]:
        found = [truth.boxes[truth.is_exact & (truth.labels == 0)] for step in steps for truth in step.truths[2:]]
        return {tuple(round(float(side), 2) for side in size) for size in np.concatenate(found)[:, 3:6]}

    assert cars(steps_of(plain, range(4))) == {(4.0, 1.8, 1.6)}
    assert cars(steps_of(recipe, range(4))) == {(3.09, 1.31, 1.34)}  # - 0.91, - 0.49, - 0.26


def test_steps_do_not_depend_on_where_they_begin(roots, tmp_path: Path) -> None:
    run = run_of(roots)
    whole = steps_of(upcycling_recipe(run, tmp_path), range(4))
    assert same_steps(whole[2:], steps_of(upcycling_recipe(run, tmp_path), range(2, 4)))


def test_a_damaged_payload_is_named(roots, tmp_path: Path) -> None:
    recipe = upcycling_recipe(run_of(roots), tmp_path)
    damaged = recipe._store.scenes[3]
    path = recipe._store._store.path(damaged.manifest.payload_sha256)
    path.chmod(0o640)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StorageError, match=f"stored scene {damaged.scene_id[:12]}: .*damaged"):
        steps_of(recipe, range(5))
