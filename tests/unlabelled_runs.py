"""Small runs that learn from unlabelled frames: raw, or as features in a store that is filled without a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from server.training.preparation import prepare
from server.training.processes import Processes
from server.training.run_config import RunConfig, parse_run
from server.training.step_module import StepInput
from tests.small_runs import small_table
from upcycle.fill_store import fill_for

PV_RCNN = ("detector.name=pv_rcnn", "detector.override.points.keypoint_count=64", "detector.override.roi.grid_size=3")
# Untrained weights find boxes with middling scores: thresholds that some of them pass, and not all.
EASY = ("settings.pseudo_labels.class_score=0.0", "settings.pseudo_labels.box_score=[0.3]")
CPU = torch.device("cpu")


def unlabelled_run(recipe: str, labelled: Path, unlabelled: Path, *changes: str) -> RunConfig:
    """A run of `recipe`: `changes` as of --set."""
    source = f"data.unlabelled={{dataset='kitti', root='{unlabelled}', split='all'}}"
    return parse_run(small_table(labelled, f"recipe={recipe}", source, *changes), "test")


def steps_of(recipe: Any, numbers: range) -> list[StepInput]:
    """The composed steps, without training in between."""
    with recipe.batches(numbers) as batches:
        return [recipe.compose(prepared) for prepared in batches]


def upcycling_recipe(run: RunConfig, data: Path) -> Any:
    """The recipe over a store with its features, in training mode as in a step."""
    fill_for(run, data)
    recipe = prepare(run, data, Processes(), CPU)
    recipe.training_mode()
    return recipe


def same_steps(one: list[StepInput], other: list[StepInput]) -> bool:
    """Whether two lists of steps are bit for bit the same."""
    return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))


def _same(one: StepInput, other: StepInput) -> bool:
    tensors = [(*step.scans, *(() if step.stored is None else (step.stored.grid.features,))) for step in (one, other)]
    boxes = [[truth.boxes.tobytes() + truth.labels.tobytes() for truth in step.truths] for step in (one, other)]
    return (
        one.frame_ids == other.frame_ids
        and one.weights == other.weights
        and boxes[0] == boxes[1]
        and all(torch.equal(a, b) for a, b in zip(*tensors, strict=True))
    )


def state_tensors(recipe: Any) -> Mapping[str, torch.Tensor]:
    """A copy of the detector's parameters and statistics."""
    return {name: value.clone() for name, value in recipe.setup.detector.state_dict().items()}
