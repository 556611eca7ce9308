"""Experiments: a grid of runs (methods x splits x seeds), each cell a complete run of its own, and their table.

name = "partial-label"
base = "simulated-partial.toml"        # run file, beside this one
seeds = [1, 2, 3]
metric = "ap_all/strict/car/3d/moderate"

[[methods]]
name = "baseline"

[[methods]]
name = "upcycling"
starts_from = "baseline"               # the last checkpoint of that method's cell with the same split and seed
change.recipe = "upcycling"

[[splits]]
name = "10 %, a"
change.data.labelled.manifest = "deploy/splits/..."
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scipy import stats

from server.training.atomic_files import write_whole
from server.training.run_config import RunConfig, merged_tables, parse_run, read_table, run_text
from shared_models.configuration import from_dict
from shared_models.errors import ConfigError, DatasetError, InvalidValueError
from shared_models.records import check

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One entry of an axis. change: what differs from the base run file, as nested tables.

    starts_from: of a method: another method, whose finished cell with the same split and seed gives the weights.
    """

    name: str
    change: dict[str, Any] = field(default_factory=dict)
    starts_from: str = ""

    def __post_init__(self) -> None:
        check.name("Variant", "name", self.name, 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentConfig:
    """A grid of runs.

    base: run file that every cell begins with, relative to the experiment's file.
    seeds: of the runs. metrics: numbers of the last evaluation that the table shows. confidence: of the intervals.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """A finished cell.

    run_file: its complete run file. *_sha256: of that as text, and of its weights. numbers: of its last evaluation.
    """

    cell: str
    method: str
    split: str
    seed: int
    run_id: str
    run_file: Mapping[str, Any]
    run_file_sha256: str
    checkpoint: str
    model_sha256: str
    seconds: float
    numbers: Mapping[str, float]


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
    for cell in cells:
        cell.run("a checkpoint" if cell.parent else "")  # every mistake shows before the first hour of training
    return config, cells


def _cell(base: Mapping[str, Any], config: ExperimentConfig, method: Variant, split: Variant, seed: int) -> Cell:
    name = f"{method.name}, {split.name}, seed {seed}"
    changes = merged_tables(split.change, method.change)
    slug = "".join(letter if letter.isalnum() else "-" for letter in f"{config.name}-{method.name}-{split.name}")
    table = merged_tables(merged_tables(base, changes), {"name": slug[:60], "seed": seed})
    parent = f"{method.starts_from}, {split.name}, seed {seed}" if method.starts_from else ""
    return Cell(name=name, method=method.name, split=split.name, seed=seed, table=table, parent=parent)


def save_result(folder: Path, result: CellResult) -> None:
    """Keep a finished cell. Raises StorageError, StorageFullError."""
    content = {"format": FORMAT, **{name: getattr(result, name) for name in CellResult.__dataclass_fields__}}
    write_whole(result_path(folder, result.cell), (json.dumps(content, indent=1) + "\n").encode())


def load_result(folder: Path, cell: Cell) -> CellResult | None:
    """What is known of a cell; None where it is not finished.

    Raises:
        DatasetError: its file is damaged, or of another experiment file than the present one.
    """
    path = result_path(folder, cell.name)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError("another format")
        result = CellResult(**content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: no readable result ({error}); remove the file to run the cell again") from error
    known, wanted = parse_run(result.run_file, str(path)), cell.run()
    if cell.parent:  # the folder of the parent's checkpoint is another one on another machine
        known = replace(known, detector=wanted.detector)
    if cell.name != result.cell or run_text(known) != run_text(wanted):
        raise DatasetError(
            f"{path}: this cell was run with other settings than the experiment's file has now; give the changed "
            "experiment another name, or remove the file to run the cell again"
        )
    return result


def result_path(folder: Path, cell: str) -> Path:
    """File of a cell's result."""
    digits = hashlib.sha256(cell.encode()).hexdigest()[:8]  # names that differ in a sign only have files of their own
    return folder / f"{''.join(letter if letter.isalnum() else '-' for letter in cell)[:150]}-{digits}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Mean over cells with a confidence interval (Student's t). half_width: NaN with fewer than two cells."""

    mean: float
    half_width: float
    count: int

    def __str__(self) -> str:
        width = "" if math.isnan(self.half_width) else f" ± {self.half_width:.2f}"
        return f"{self.mean:.2f}{width} ({self.count})"


def estimate(values: Sequence[float], confidence: float) -> Estimate:
    """Mean and interval of `values`, at least one."""
    count, mean = len(values), sum(values) / len(values)
    if count < 2:
        return Estimate(mean=mean, half_width=math.nan, count=count)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    factor = float(stats.t.ppf((1 + confidence) / 2, count - 1))
    return Estimate(mean=mean, half_width=factor * deviation / math.sqrt(count), count=count)


def summary(results: Sequence[CellResult], config: ExperimentConfig) -> dict[str, dict[str, Estimate]]:
    """Metric by method: the mean over splits and seeds; methods without a finished cell are left out."""
    found: dict[str, dict[str, Estimate]] = {}
    for method in config.methods:
        own = [result for result in results if result.method == method.name]
        for metric in config.metrics:
            values = [result.numbers[metric] for result in own if metric in result.numbers]
            if values:
                found.setdefault(method.name, {})[metric] = estimate(values, config.confidence)
    return found


def closed_gaps(results: Sequence[CellResult], config: ExperimentConfig) -> dict[str, dict[str, Estimate]]:
    """Closed gap in percent by method and metric, (AP - from) / (to - from), as ST3D and UpCycling report it.

    Each cell is compared with the two reference cells of its own split and seed; cells without them are left out.
    """
    found: dict[str, dict[str, list[float]]] = {}
    if not (config.gap_from and config.gap_to):
        return {}
    by_place = {(result.method, result.split, result.seed): result.numbers for result in results}
    for result in results:
        low, high = (by_place.get((m, result.split, result.seed), {}) for m in (config.gap_from, config.gap_to))
        for metric in config.metrics:
            ends = (low.get(metric), high.get(metric), result.numbers.get(metric))
            if None not in ends and ends[0] != ends[1]:
                start, end, own = (float(value) for value in ends if value is not None)
                gap = 100 * (own - start) / (end - start)
                found.setdefault(result.method, {}).setdefault(metric, []).append(gap)
    return {
        method: {metric: estimate(values, config.confidence) for metric, values in own.items()}
        for method, own in found.items()
    }
