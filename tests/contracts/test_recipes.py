"""What every training recipe must do."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from server.repositories.archive import open_archive
from server.training.preparation import make_detector, prepare
from server.training.processes import Processes
from server.training.recipe import Recipe
from server.training.recipes import RECIPES, recipe_class
from server.training.run_config import RunConfig, parse_run, run_text
from server.training.sources import labelled_frames, open_source
from server.training.step_module import StepInput
from shared_models.configuration import from_dict, to_dict
from shared_models.errors import ConfigError, UnknownNameError
from tests.dashboard_data import encode
from tests.dashboard_data import store as store_scene
from tests.small_runs import digest, make_loop, saved_tensors, small_run, write_frames

CPU = torch.device("cpu")
RAW, STORED = ("iou_match", "st3d"), ("upcycling",)  # what a recipe learns from beside labelled frames


@pytest.fixture(params=list(RECIPES))
def name(request) -> str:
    return request.param


def a_run(name: str, folder: Path) -> RunConfig:
    """A small run of the recipe, with a store of four scenes for those that learn from one."""
    root = write_frames(folder / "kitti")
    store = folder / "store"
    others = write_frames(folder / "unlabelled")
    unlabelled = f"data.unlabelled={{dataset='kitti', root='{others}', split='all'}}"
    changes = ["loop.steps=3", "loop.save_every=1", f"recipe={name}"]
    if name in RAW:
        changes.append(unlabelled)
    if name in STORED:
        changes += [f"settings.store.folder={store}", "settings.store.codec=float32"]
    run = small_run(root, *changes)
    if name in STORED and not store.exists():
        fill_store(store, run)
    return run


def fill_store(store: Path, run: RunConfig) -> None:
    """The features of the run's own frames, as a vehicle with the run's first weights sends them."""
    detector = make_detector(run.detector, run.seed).eval()
    archive = open_archive(store, is_new_allowed=True)
    for number, scan in enumerate(labelled_frames(open_source(run.data.labelled), detector)):
        with torch.no_grad():
            features = detector.extract(torch.from_numpy(scan.points))
        store_scene(archive, encode(features, number))
    archive.close()


def test_the_table_names_classes_of_that_name(name: str) -> None:
    found = recipe_class(name)
    assert issubclass(found, Recipe)
    assert found.name == name
    with pytest.raises(UnknownNameError, match="unknown recipe 'none'; known: "):
        recipe_class("none")


def test_settings_have_defaults_and_come_back_from_a_run_file(name: str) -> None:
    config = recipe_class(name).config_class()
    assert from_dict(type(config), to_dict(config)) == config
    run = parse_run({"recipe": name}, "text")
    assert run.settings == to_dict(config)
    assert parse_run(to_dict(run), "text") == run
    with pytest.raises(ConfigError, match="text: settings.no_such: unknown key; known here: "):
        parse_run({"recipe": name, "settings": {"no_such": 1}}, "text")


def test_steps_are_composed_of_the_same_scenes_each_time(name: str, tmp_path: Path) -> None:
    run = a_run(name, tmp_path)

    def steps(numbers: range) -> list[StepInput]:
        recipe = prepare(run, tmp_path, Processes(), CPU)
        recipe.training_mode()
        with recipe.batches(numbers) as batches:
            prepared = list(batches)
        assert [each.step for each in prepared] == list(numbers)
        return [recipe.compose(each) for each in prepared]

    whole, later = steps(range(3)), steps(range(1, 3))
    for one, other in zip(whole[1:], later, strict=True):
        assert one.frame_ids == other.frame_ids
        assert all(torch.equal(a, b) for a, b in zip(one.scans, other.scans, strict=True))
        assert [rng.random() for rng in one.rngs()] == [rng.random() for rng in other.rngs()]
    draws = [rng.random() for step in whole for rng in step.rngs()]
    assert len(set(draws)) == len(draws)
    assert prepare(run, tmp_path, Processes(), CPU).steps_per_epoch >= 1


def test_several_processes_share_what_one_would_see(name: str, tmp_path: Path) -> None:
    run = a_run(name, tmp_path)

    def scenes(count: int) -> list[tuple[str, float]]:
        found = []
        for rank in range(count):
            recipe = prepare(run, tmp_path, Processes(rank=rank, count=count), CPU)
            recipe.training_mode()
            with recipe.batches(range(1)) as batches:
                step = recipe.compose(next(batches))
            found += list(zip(step.frame_ids, [rng.random() for rng in step.rngs()], strict=True))
        return sorted(found)

    assert scenes(2) == scenes(1)


def test_a_step_trains_what_it_says_and_the_run_can_be_resumed(name: str, tmp_path: Path) -> None:
    run = a_run(name, tmp_path)
    seen = []
    loop = make_loop(run, tmp_path / "whole")
    loop._progress = lambda step, total, numbers: seen.append(numbers)
    detector, trained = loop._recipe.setup.detector, {id(p) for p in loop._recipe.trained_parameters()}
    before = {n: p.clone() for n, p in detector.named_parameters()}
    loop.run()
    assert all(math.isfinite(value) for numbers in seen for value in numbers.values())
    changed = {n for n, p in detector.named_parameters() if not torch.equal(p, before[n])}
    assert changed
    assert changed <= {n for n, p in detector.named_parameters() if id(p) in trained}
    assert loop._recipe.waited_s >= 0
    stopped = replace(run, loop=replace(run.loop, stop_after=2))
    assert run_text(stopped) == run_text(run)
    make_loop(stopped, tmp_path / "parts").run()
    resumed = make_loop(run, tmp_path / "parts")
    assert resumed.step == 2
    state = resumed._recipe.state()
    resumed._recipe.load_state(state)
    assert digest(_tensors(resumed._recipe.state())) == digest(_tensors(state))
    resumed.run()
    folders = [made._folder.state for made in (loop, resumed)]
    assert digest(saved_tensors(folders[0])) == digest(saved_tensors(folders[1]))


def _tensors(state) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
