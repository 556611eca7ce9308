"""The experiment files in deploy/runs: each can be loaded, and its methods are what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.training.experiment import load_experiment

FOLDER = Path(__file__).parents[3] / "deploy/runs"
FILES = sorted(path for path in FOLDER.glob("*.toml") if "[[methods]]" in path.read_text(encoding="utf-8"))
ALTERNATIVES = {"flip": ("flip",), "noise": ("noise",), "rs": ("rs",), "rotation": ("rotation",)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_loads(path: Path) -> None:
    config, cells = load_experiment(path)
    assert len(cells) == len(config.methods) * len(config.splits) * len(config.seeds)
    assert len({cell.run("somewhere").name for cell in cells}) == len({(cell.method, cell.split) for cell in cells})


@pytest.mark.parametrize("name", ["partial-label-comparison", "adaptation-comparison"])
def test_the_comparison_is_of_what_it_says(name: str) -> None:
    _, cells = load_experiment(FOLDER / f"{name}.toml")
    runs = {cell.method: (cell, cell.run("a checkpoint" if cell.parent else "")) for cell in cells}
    orders = ALTERNATIVES | {"upcycling": ("fgt",)} | ({"frot": ("fgt", "frot")} if "partial" in name else {})
    for method, order in orders.items():
        cell, run = runs[method]
        assert run.recipe == "upcycling"
        assert tuple(run.settings["features"]["order"]) == order
        assert cell.parent
        ratio, ignore_from = (1, 1.0) if "partial" in name else (2, 0.2)
        assert (run.settings["unlabelled_ratio"], run.settings["pseudo_labels"]["ignore_from"]) == (ratio, ignore_from)
    assert runs["iou_match"][1].recipe == "iou_match"
    assert runs["oracle"][1].recipe == "supervised"
    assert not runs["oracle"][0].parent


def test_splits_learn_from_the_frames_that_are_left() -> None:
    _, cells = load_experiment(FOLDER / "partial-label-comparison.toml")
    for cell in cells:
        data = cell.run("a checkpoint" if cell.parent else "").data
        assert data.unlabelled is not None
        assert data.labelled.manifest == data.unlabelled.manifest
        assert data.unlabelled.part == "unlabelled"
        assert data.labelled.part == ("all" if cell.method == "oracle" else "labelled")
    assert len({cell.table["data"]["labelled"]["manifest"] for cell in cells}) == 3


def test_adaptation_never_labels_the_target_but_for_the_oracle() -> None:
    _, cells = load_experiment(FOLDER / "adaptation-comparison.toml")
    for cell in cells:
        run = cell.run("a checkpoint" if cell.parent else "")
        target = run.data.evaluation
        assert target is not None
        assert run.data.unlabelled is not None
        assert run.data.unlabelled.dataset == target.dataset
        assert (run.data.labelled.dataset == target.dataset) == (cell.method == "oracle")
        assert (target.split, run.data.unlabelled.split) == ("val", "train")
