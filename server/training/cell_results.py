"""Finished cells of an experiment: their files, and whether they are still of what the experiment's file names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from server.training.atomic_files import write_whole
from server.training.experiment import METRIC, Cell, ExperimentConfig
from server.training.run_config import RunConfig, parse_run, run_text
from server.training.splits import load_split
from shared_models.errors import ConfigError, DatasetError

FORMAT: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """A finished cell.

    run_file: its complete run file. *_sha256: of that as text, and of its weights. numbers: of its last evaluation.
    manifest_sha256: of the labelled frames' names in each split manifest of the run file, by the manifest's path.
    parent_sha256: of the weights that it started from; "" without a parent.
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
    manifest_sha256: Mapping[str, str]
    parent_sha256: str


def save_result(folder: Path, result: CellResult) -> None:
    """Keep a finished cell. Raises StorageError, StorageFullError."""
    content = {"format": FORMAT, **{name: getattr(result, name) for name in CellResult.__dataclass_fields__}}
    write_whole(result_path(folder, result.cell), (json.dumps(content, indent=1) + "\n").encode())


def load_result(folder: Path, cell: Cell) -> CellResult | None:
    """What is known of a cell; None where it is not finished.

    Raises:
        DatasetError: its file is damaged or of another experiment file than the present one, a manifest or its
            parent's weights have changed since, or a manifest is missing.
    """
    path = result_path(folder, cell.name)
    result = _read(path)
    if result is None:
        return None
    known, wanted = parse_run(result.run_file, str(path)), cell.run()
    if cell.parent:  # the folder of the parent's checkpoint is another one on another machine
        known = replace(known, detector=wanted.detector)
    if cell.name != result.cell or run_text(known) != run_text(wanted):
        raise DatasetError(
            f"{path}: this cell was run with other settings than the experiment's file has now; give the changed "
            "experiment another name, or remove the file to run the cell again"
        )
    _require_same_inputs(path, result, wanted, _read(result_path(folder, cell.parent)) if cell.parent else None)
    return result


def _read(path: Path) -> CellResult | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError("another format")
        return CellResult(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path}: no readable result ({error}); remove the file to run the cell again") from error


def _require_same_inputs(path: Path, result: CellResult, run: RunConfig, parent: CellResult | None) -> None:
    """Paths stay the same when what lies there does not, so contents are compared."""
    present = manifest_hashes(run)
    changed = [name for name, digits in present.items() if result.manifest_sha256.get(name) != digits]
    if parent is not None and parent.model_sha256 != result.parent_sha256:
        changed.append(f"the checkpoint of {parent.cell}")
    if changed:
        raise DatasetError(
            f"{path}: {' and '.join(changed)} changed since this cell was run; remove the file and the run's folder "
            f"(runs/{result.run_id}) to run the cell again, or give the experiment another name"
        )


def manifest_hashes(run: RunConfig) -> dict[str, str]:
    """SHA-256 of the labelled frames' names in each split manifest that a run file names, by path.

    Raises:
        DatasetError: as `load_split`.
    """
    sources = (run.data.labelled, run.data.unlabelled, run.data.evaluation)
    paths = {source.manifest for source in sources if source is not None and source.manifest}
    return {path: load_split(Path(path)).sha256 for path in sorted(paths)}


def require_metrics(result: CellResult, config: ExperimentConfig) -> None:
    """The table's metrics are among a finished cell's numbers.

    Raises:
        ConfigError: one is not; the message lists those that are.
    """
    missing = [metric for metric in config.metrics if metric not in result.numbers]
    if missing:
        known = sorted(name for name in result.numbers if METRIC.fullmatch(name)) or ["none"]
        raise ConfigError(
            f"cell {result.cell} has no number {', '.join(missing)}; known: {', '.join(known)}. Correct `metrics` in "
            "the experiment's file; finished cells stay"
        )


def result_path(folder: Path, cell: str) -> Path:
    """File of a cell's result."""
    digits = hashlib.sha256(cell.encode()).hexdigest()[:8]  # names that differ in a sign only have files of their own
    return folder / f"{''.join(letter if letter.isalnum() else '-' for letter in cell)[:150]}-{digits}.json"
