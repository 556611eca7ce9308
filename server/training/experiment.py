"""Experiments: a grid of runs (methods x splits x seeds), each cell a complete run of its own, and their table.

name = "partial-label"
base = "simulated-partial.toml"        # run file, beside this one
seeds = [1, 2, 3]
metrics = ["ap_all/strict/car/3d/moderate"]

[[methods]]
name = "baseline"

[[methods]]
name = "upcycling"
starts_from = "baseline"               # the last checkpoint of that method's cell with the same split and seed
change.recipe = "upcycling"

[[methods]]
name = "oracle"
change.data.labelled.part = "all"
without = ["data.unlabelled"]          # its frames are labelled now

[[splits]]
name = "10 %, a"
change.data.labelled.manifest = "deploy/splits/..."
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from server.training.run_config import RunConfig, merged_tables, parse_run, read_table
from shared_models.configuration import from_dict
from shared_models.errors import ConfigError, InvalidValueError
from shared_models.records import check

# What an evaluation calls its numbers; classes are in small letters there.
METRIC: Final = re.compile(
    r"ap_all/(?P<overlap>strict|loose)/[^/A-Z]+/(bev|3d)/(easy|moderate|hard|all)|waymo/level_[12]/[^/A-Z]+/aph?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One entry of an axis. change: what differs from the base run file, as nested tables.

    starts_from: of a method: another method, whose finished cell with the same split and seed gives the weights.
    without: keys that are taken out of the base, as in "data.unlabelled", after all changes.
    """

    name: str
    change: dict[str, Any] = field(default_factory=dict)
    starts_from: str = ""
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check.name("Variant", "name", self.name, 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentConfig:
    """A grid of runs.

    base: run file that every cell begins with, relative to the experiment's file.
    seeds: of the runs. confidence: of the intervals.
    metrics: numbers of the last evaluation that the table shows: ap_all/OVERLAP/CLASS/SPACE/DIFFICULTY (strict or
        loose; bev or 3d; easy, moderate, hard, or all where frames have no image boxes), waymo/level_1/CLASS/aph.
    gap_from, gap_to: methods between which the closed gap is measured (source model and oracle); "" is none.
    """

    name: str
    base: str
    seeds: tuple[int, ...] = (0,)
    metrics: tuple[str, ...] = ("ap_all/strict/car/3d/moderate",)
    confidence: float = 0.95
    gap_from: str = ""
    gap_to: str = ""
    methods: tuple[Variant, ...] = (Variant(name="base"),)
    splits: tuple[Variant, ...] = (Variant(name="all"),)

    def __post_init__(self) -> None:
        check.name("ExperimentConfig", "name", self.name, 60)
        check.number("ExperimentConfig", "confidence", self.confidence, 0.5, 0.9999)
        for axis in ("methods", "splits"):
            check.distinct_names("ExperimentConfig", axis, tuple(entry.name for entry in getattr(self, axis)), 60)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise InvalidValueError(f"ExperimentConfig.seeds: expected different numbers, got {self.seeds}")
        wrong = [metric for metric in self.metrics if METRIC.fullmatch(metric) is None]
        if wrong or not self.metrics:
            raise InvalidValueError(
                f"ExperimentConfig.metrics: expected names as ap_all/strict/car/3d/moderate (strict or loose, class in "
                f"small letters, bev or 3d, easy, moderate, hard or all) or waymo/level_1/car/aph, got "
                f"{wrong or 'none'}"
            )
        self._check_methods()

    def _check_methods(self) -> None:
        known = [method.name for method in self.methods]
        for end, name in (("gap_from", self.gap_from), ("gap_to", self.gap_to)):
            if name and name not in known:
                raise InvalidValueError(
                    f"ExperimentConfig.{end}: expected one of the methods {', '.join(known)}, got {name!r}"
                )
        for place, method in enumerate(self.methods):
            if method.starts_from and method.starts_from not in known[:place]:
                raise InvalidValueError(
                    f"ExperimentConfig.methods: {method.name} starts from {method.starts_from!r}, "
                    f"which is none of the methods before it ({', '.join(known[:place]) or 'none'})"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run of the grid. table: of its run file. parent: the cell whose checkpoint it starts from, or ""."""

    name: str
    method: str
    split: str
    seed: int
    table: Mapping[str, Any]
    parent: str = ""

    def run(self, checkpoint: str = "") -> RunConfig:
        """The complete run. checkpoint: of the parent cell; it brings the detector's configuration with it.

        Raises:
            ConfigError, UnknownNameError: as `parse_run`.
        """
        table = dict(self.table)
        if checkpoint:
            table["detector"] = {**table.get("detector", {}), "checkpoint": checkpoint, "override": {}}
        return parse_run(table, f"cell {self.name}")


def load_experiment(path: Path) -> tuple[ExperimentConfig, tuple[Cell, ...]]:
    """An experiment's file and its cells, parents before those that start from them.

    Raises:
        ConfigError: the file or its base cannot be read, or a value is wrong.
    """
    try:
        config = from_dict(ExperimentConfig, read_table(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    base = read_table(path.parent / config.base)
    cells = tuple(
        _cell(base, config, method, split, seed)
        for method in config.methods
        for split in config.splits
        for seed in config.seeds
    )
    for cell in cells:  # every mistake shows before the first hour of training
        run = cell.run("a checkpoint" if cell.parent else "")
        require_evaluated(run, config.metrics, f"{path}: cell {cell.name}")
    return config, cells


def require_evaluated(run: RunConfig, metrics: tuple[str, ...], source: str) -> None:
    """The run's own evaluation gives these metrics.

    Raises:
        ConfigError: it does not; `source` says whose run it is.
    """
    if run.data.evaluation is None:
        raise ConfigError(f"{source}: data.evaluation is missing; the table's metrics come from it")
    for metric in metrics:
        match = METRIC.fullmatch(metric)
        overlap = match["overlap"] if match else None
        if overlap is not None and overlap not in run.evaluation.overlaps:
            raise ConfigError(f"{source}: {metric} needs {overlap!r} in evaluation.overlaps")


def _cell(base: Mapping[str, Any], config: ExperimentConfig, method: Variant, split: Variant, seed: int) -> Cell:
    name = f"{method.name}, {split.name}, seed {seed}"
    changes = merged_tables(split.change, method.change)
    slug = "".join(letter if letter.isalnum() else "-" for letter in f"{config.name}-{method.name}-{split.name}")
    table = merged_tables(merged_tables(base, changes), {"name": slug[:60], "seed": seed})
    for key in (*split.without, *method.without):
        table = without_key(table, key, f"cell {name}")
    parent = f"{method.starts_from}, {split.name}, seed {seed}" if method.starts_from else ""
    return Cell(name=name, method=method.name, split=split.name, seed=seed, table=table, parent=parent)


def without_key(table: Mapping[str, Any], key: str, source: str) -> dict[str, Any]:
    """A copy of `table` without one dotted key.

    Raises:
        ConfigError: it has no such key; `source` says whose table it is.
    """
    result = copy.deepcopy(dict(table))
    *path, last = key.split(".")
    inner: Any = result
    for word in path:
        inner = inner.get(word) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or last not in inner:
        raise ConfigError(f"{source}: without: the base file has no {key}")
    del inner[last]
    return result
