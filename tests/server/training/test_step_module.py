from __future__ import annotations

import pytest
import torch

from server.training.objective import TermSelection
from server.training.preparation import prepare
from server.training.processes import Processes
from server.training.step_module import StepInput, StepModule
from shared_models.errors import InvalidValueError
from tests.small_runs import NO_DROPOUT, small_run, write_frames

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("step")
    return prepare(small_run(write_frames(folder / "kitti", 2), *NO_DROPOUT), folder, Processes(), CPU)


def step_of(recipe, weights=(0.5, 0.5), stored: int = 0) -> StepInput:
    """Both frames; the last `stored` of them as features."""
    scans = list(recipe.setup.labelled)
    points = [torch.from_numpy(scan.points) for scan in scans]
    raw = points[: len(points) - stored]
    with torch.no_grad():
        batch = recipe.setup.detector.extract_batch(points[len(raw) :]) if stored else None
    return StepInput(
        frame_ids=tuple(scan.frame_id for scan in scans),
        scans=tuple(raw),
        stored=batch,
        truths=tuple(scan.truth for scan in scans),
        terms=(TermSelection(),) * 2,
        weights=weights,
        seed=(1, 2),
    )


def test_the_total_is_the_weighted_sum_of_the_scenes(recipe) -> None:
    setup = recipe.setup
    module = StepModule(setup.detector, setup.objective).eval()
    with torch.no_grad():
        both, first, second = (module(step_of(recipe, weights)) for weights in ((0.25, 2.0), (1.0, 0.0), (0.0, 1.0)))
    assert float(both[0]) == pytest.approx(float(first[0]) / 4 + float(second[0]) * 2, rel=1e-5)
    assert float(both[0]) == pytest.approx(sum(float(term) for term in both[1].values()), rel=1e-5)
    assert both[2]["positive_anchors"] == first[2]["positive_anchors"] > 0


@pytest.mark.parametrize("stored", [1, 2])
def test_stored_features_stand_for_their_scans(recipe, stored: int) -> None:
    setup = recipe.setup
    setup.detector.eval()
    module = StepModule(setup.detector, setup.objective).eval()
    with torch.no_grad():
        raw, mixed = module(step_of(recipe)), module(step_of(recipe, stored=stored))
    assert float(mixed[0]) == pytest.approx(float(raw[0]), rel=1e-5)


def test_each_scene_draws_by_its_place(recipe) -> None:
    step = step_of(recipe)
    draws = [rng.random() for rng in step.rngs()]
    assert draws == [rng.random() for rng in step.rngs()]
    assert draws[0] != draws[1]
    fields = {name: getattr(step, name) for name in ("frame_ids", "scans", "truths", "terms", "weights")}
    turned = StepInput(**fields, seed=(1, 2), places=(1, 0))
    assert [rng.random() for rng in turned.rngs()] == draws[::-1]
    later = StepInput(**fields, seed=(1, 3))
    assert not {rng.random() for rng in later.rngs()} & set(draws)


@pytest.mark.parametrize("field", ["frame_ids", "truths", "terms", "weights", "places"])
def test_every_scene_needs_one_entry(recipe, field: str) -> None:
    step = step_of(recipe)
    fields = {name: getattr(step, name) for name in ("frame_ids", "scans", "truths", "terms", "weights")}
    fields["places"] = (0, 1)
    fields[field] = fields[field][:1]
    with pytest.raises(InvalidValueError, match="expected one entry for each of 2 scenes"):
        StepInput(**fields)
    with pytest.raises(InvalidValueError, match="for each of 0 scenes"):
        StepInput(frame_ids=(), truths=(), terms=(), weights=())
