"""The experiment files in deploy/runs: each can be loaded, and its methods are what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.training.experiment import load_experiment
from server.training.run_config import read_table

FOLDER = Path(__file__).parents[3] / "deploy/runs"
FILES = sorted(path for path in FOLDER.glob("*.toml") if "[[methods]]" in path.read_text(encoding="utf-8"))
ALTERNATIVES = {"flip": ("flip",), "noise": ("noise",), "rs": ("rs",), "rotation": ("rotation",)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_loads(path: Path) -> None:
    config, cells = load_experiment(path)
    assert len(cells) == len(config.methods) * len(config.splits) * len(config.seeds)
    assert len({cell.run("somewhere").name for cell in cells}) == len({(cell.method, cell.split) for cell in cells})


@pytest.mark.parametrize("name", [path.stem for path in FILES if path.stem.endswith("comparison")])
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


PARTIAL = [path.stem for path in FILES if path.stem.startswith("partial") and path.stem.endswith("comparison")]


@pytest.mark.parametrize("name", PARTIAL)
def test_splits_learn_from_the_frames_that_are_left(name: str) -> None:
    _, cells = load_experiment(FOLDER / f"{name}.toml")
    for cell in cells:
        data = cell.run("a checkpoint" if cell.parent else "").data
        if cell.method == "oracle":
            assert (data.labelled.part, data.unlabelled) == ("all", None)
            continue
        assert data.unlabelled is not None
        assert data.labelled.manifest == data.unlabelled.manifest
        assert (data.labelled.part, data.unlabelled.part) == ("labelled", "unlabelled")
    assert len({cell.table["data"]["labelled"]["manifest"] for cell in cells}) == 3


@pytest.mark.parametrize("path", [path for path in FILES if "kitti" not in path.stem], ids=lambda path: path.stem)
def test_methods_take_the_same_number_of_steps(path: Path) -> None:
    """An oracle, which starts from nothing, takes as many as a method and the one that it starts from together."""
    _, cells = load_experiment(path)
    steps = {cell.method: cell.run("a checkpoint" if cell.parent else "").loop.steps for cell in cells}
    oracle = steps.pop("oracle")
    first = {steps[cell.method] for cell in cells if not cell.parent and cell.method != "oracle"}
    later = {steps[cell.method] for cell in cells if cell.parent}
    assert len(first) == 1
    assert len(later) <= 1
    assert oracle == sum(first) + sum(later) > 0


@pytest.mark.parametrize(
    ("name", "ratio", "epochs", "batch_size", "learning_rate", "detector"),
    [
        ("2-second", "0.02", 120, 16, 0.003, "second_iou"),
        ("10-second", "0.1", 80, 16, 0.003, "second_iou"),
        ("2-pvrcnn", "0.02", 120, 8, 0.01, "pv_rcnn"),
        ("10-pvrcnn", "0.1", 80, 8, 0.01, "pv_rcnn"),
    ],
)
def test_kitti_has_the_papers_schedule(name, ratio, epochs, batch_size, learning_rate, detector) -> None:
    """UpCycling's batches, rates and epochs: 80, and 120 with 2 %."""
    _, cells = load_experiment(FOLDER / f"partial-label-kitti-{name}-comparison.toml")
    for cell in cells:
        run = cell.run("a checkpoint" if cell.parent else "")
        assert (run.loop.batch_size, run.optimiser.learning_rate, run.loop.steps) == (batch_size, learning_rate, 0)
        assert run.loop.epochs == (80 if cell.method == "oracle" else epochs)
        assert run.settings["repeat"] == 1
        assert cell.table["detector"]["name"] == detector
        assert run.data.labelled.manifest == f"deploy/splits/kitti-{ratio}-seed{cell.split[-1]}.json"


def test_objects_are_resized_after_others_were_put_in() -> None:
    for path in FOLDER.glob("*.toml"):
        table = read_table(path)
        changes = [table, *(method.get("change", {}) for method in table.get("methods", []))]
        for order in (change.get("augmentation", {}).get("order", []) for change in changes):
            if "ground_truth_sampling" in order and "statistical_normalisation" in order:
                assert order.index("ground_truth_sampling") < order.index("statistical_normalisation"), path


@pytest.mark.parametrize("name", ["adaptation-comparison", "adaptation-real-comparison"])
def test_adaptation_never_labels_the_target_but_for_the_oracle(name: str) -> None:
    _, cells = load_experiment(FOLDER / f"{name}.toml")
    for cell in cells:
        run = cell.run("a checkpoint" if cell.parent else "")
        target = run.data.evaluation
        assert target is not None
        assert target.split == "val"
        if cell.method == "oracle":
            assert run.data.unlabelled is None
            assert (run.data.labelled.dataset, run.data.labelled.split) == (target.dataset, "train")
            continue
        assert run.data.unlabelled is not None
        assert (run.data.unlabelled.dataset, run.data.unlabelled.split) == (target.dataset, "train")
        assert run.data.labelled.dataset != target.dataset
