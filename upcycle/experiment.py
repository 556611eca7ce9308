"""`upcycle experiment`: a grid of runs, filled cell by cell, and its table."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from shared_models.errors import ConfigError, DatasetError, TrainingDivergedError

if TYPE_CHECKING:
    from server.training.cell_results import CellResult
    from server.training.experiment import Cell, ExperimentConfig

app = typer.Typer(
    help="Run a grid of methods, splits and seeds, and print its table.", no_args_is_help=True, add_completion=False
)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Experiment file (TOML).", show_default=False)]
DataOption = Annotated[Path, typer.Option(help="Folder of the server's data; runs and results are kept below it.")]
DIVERGED = "its training diverged"


@app.command()
def run(
    file: FileArgument,
    data: DataOption = Path("upcycle-data"),
    share: Annotated[
        str, typer.Option(help="K/N: only every N-th method, split and seed from the K-th on, for several machines.")
    ] = "1/1",
) -> None:
    """Fill the cells that are not finished, then print the table. Stopped, it goes on where it was.

    Several machines may work on one shared folder: a cell that another one is working on is left to it. Without a
    shared folder, give each machine its --share and copy the results together. Ends with code 1 where cells are left
    unfilled, and says why.
    """
    from server.training.cell_results import manifest_hashes
    from server.training.experiment import load_experiment

    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError("an experiment trains each cell in one process: start it without torchrun")
    config, cells = load_experiment(file)
    chosen = _shared_out(cells, share)
    for cell in chosen:  # a missing manifest shows before the first hour of training
        manifest_hashes(cell.run())
    grid = _Grid(config=config, cells=cells, data=data, results=data / "experiments" / config.name)
    left = _fill_all(grid, chosen)
    _print_table(config, _finished(cells, grid.results), len(cells))
    if left:
        print(f"{len(left)} of {len(chosen)} cells are left unfilled:")
        for name, reason in left.items():
            print(f"  {name}: {reason}")
        raise typer.Exit(1)


@app.command()
def show(
    file: FileArgument,
    data: DataOption = Path("upcycle-data"),
    against: Annotated[
        str, typer.Option(help="A method: also print how the others differ from it, split by split and seed by seed.")
    ] = "",
    picture: Annotated[Path | None, typer.Option(help="Write a picture of all cells to this PNG file.")] = None,
) -> None:
    """Print the table of what is finished."""
    from server.training.experiment import load_experiment

    config, cells = load_experiment(file)
    results = _finished(cells, data / "experiments" / config.name)
    _print_table(config, results, len(cells))
    if against:
        _print_differences(config, results, against)
    if picture is not None:
        if not results:
            raise ConfigError(f"{picture}: no cell of {config.name} is finished, there is nothing to draw")
        from upcycle.experiment_picture import draw

        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(draw(results, config, _is_simulated(cells)))
        print(f"wrote {picture}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """cells: all of the experiment. data: the server's data folder. results: folder of the finished cells."""

    config: ExperimentConfig
    cells: tuple[Cell, ...]
    data: Path
    results: Path


def _fill_all(grid: _Grid, chosen: list[Cell]) -> dict[str, str]:
    """Go through the cells until a round finishes none; why the others are left, by name.

    Later rounds find what other processes finished meanwhile, and what could not start before.
    """
    left = {cell.name: "" for cell in chosen}
    waiting, count = list(chosen), -1
    while waiting and len(left) != count:
        count = len(left)
        for cell in waiting:
            left[cell.name] = _visit(grid, cell)
            if not left[cell.name]:
                del left[cell.name]
        waiting = [cell for cell in waiting if left.get(cell.name, DIVERGED) != DIVERGED]
    return left


def _visit(grid: _Grid, cell: Cell) -> str:
    """Fill a cell where that can be done now; why it cannot, "" once it is finished."""
    from server.training.cell_results import load_result, require_metrics

    with _claimed(grid.results, cell) as is_ours:
        known = load_result(grid.results, cell)
        if known is None and not is_ours:
            return "another process is working on it"
        parent = None
        if known is None and cell.parent:
            parent = load_result(grid.results, next(other for other in grid.cells if other.name == cell.parent))
            if parent is None:
                return f"waits for {cell.parent}"
        try:
            known = known or _fill(grid, cell, parent)
        except TrainingDivergedError as error:  # which says nothing about the other cells
            Console(stderr=True).print(f"{cell.name}: {error}", highlight=False, markup=False, soft_wrap=True)
            return DIVERGED
    require_metrics(known, grid.config)
    return ""


def _fill(grid: _Grid, cell: Cell, parent: CellResult | None) -> CellResult:
    from server.repositories.run_log import hash_run_file
    from server.training.cell_results import CellResult, manifest_hashes, save_result
    from server.training.run_config import run_text
    from server.training.run_folder import RunFolder
    from shared_models.checkpoints import read_manifest
    from shared_models.configuration import to_dict
    from upcycle import training_session
    from upcycle.train import StepProgress

    data = grid.data
    config = cell.run("" if parent is None else _checkpoint_of(parent))
    manifests = manifest_hashes(config)
    print(f"{cell.name}: training", flush=True)
    started_s = time.monotonic()
    with StepProgress(cell.name) as progress:
        outcome = training_session.train(config, data, progress, announce=progress.say)
    if outcome.state != "finished":
        raise typer.Exit(130)
    folder = RunFolder.of(data, config)
    last = folder.checkpoint(outcome.step)
    result = CellResult(
        cell=cell.name,
        method=cell.method,
        split=cell.split,
        seed=cell.seed,
        run_id=folder.run_id,
        run_file=to_dict(config),
        run_file_sha256=hash_run_file(run_text(config)),
        checkpoint=str(last),
        model_sha256=read_manifest(last).model_sha256,
        seconds=round(time.monotonic() - started_s, 1),
        numbers=training_session.last_numbers(data, folder.run_id),
        manifest_sha256=manifests,
        parent_sha256="" if parent is None else parent.model_sha256,
    )
    save_result(grid.results, result)
    return result


def _checkpoint_of(parent: CellResult) -> str:
    """Folder of a finished cell's checkpoint, with the weights that its numbers are of."""
    from shared_models.checkpoints import read_manifest

    if read_manifest(Path(parent.checkpoint)).model_sha256 != parent.model_sha256:
        raise DatasetError(
            f"{parent.checkpoint}: not the weights of the finished cell {parent.cell} any more; remove that cell's "
            "result file and its run's folder to run it again"
        )
    return parent.checkpoint


def _shared_out(cells: tuple[Cell, ...], share: str) -> list[Cell]:
    """The cells of one machine. Cells that start from another stay with it: they have its split and seed."""
    own, _, count = share.partition("/")
    if not (own.isdigit() and count.isdigit() and 1 <= int(own) <= int(count)):
        raise ConfigError(f"--share: expected K/N with 1 <= K <= N, got {share!r}")
    groups = list(dict.fromkeys((cell.split, cell.seed) for cell in cells))
    chosen = set(groups[int(own) - 1 :: int(count)])
    return [cell for cell in cells if (cell.split, cell.seed) in chosen]


@contextmanager
def _claimed(results: Path, cell: Cell) -> Iterator[bool]:
    """Hold a cell against other processes while the block runs; False where one holds it already."""
    from server.training.cell_results import result_path

    path = result_path(results, cell.name).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def _finished(cells: tuple[Cell, ...], results: Path) -> list[CellResult]:
    from server.training.cell_results import load_result

    found = [load_result(results, cell) for cell in cells]
    return [result for result in found if result is not None]


def _is_simulated(cells: tuple[Cell, ...]) -> bool:
    sides = [side for cell in cells for side in (cell.run().data.labelled, cell.run().data.evaluation) if side]
    return any(side.dataset.startswith("simulated") for side in sides)


def _print_table(config: ExperimentConfig, results: list[CellResult], count: int) -> None:
    from server.training.experiment_table import closed_gaps, summary

    title = f"{config.name}: {len(results)} of {count} cells; mean ± {config.confidence:.0%} interval (cells)"
    table = Table(title=title)
    table.add_column("method")
    gaps = closed_gaps(results, config)
    for metric in config.metrics:
        table.add_column(metric, justify="right", overflow="fold")
        if gaps:
            table.add_column("closed gap %", justify="right")
    for method, estimates in summary(results, config).items():
        row = []
        for metric in config.metrics:
            row.append(str(estimates.get(metric, "-")))
            if gaps:
                row.append(str(gaps.get(method, {}).get(metric, "-")))
        table.add_row(method, *row)
    Console().print(table)


def _print_differences(config: ExperimentConfig, results: list[CellResult], against: str) -> None:
    from server.training.experiment_table import differences

    table = Table(title=f"difference from {against}; mean ± {config.confidence:.0%} interval (pairs of cells)")
    table.add_column("method")
    for metric in config.metrics:
        table.add_column(metric, justify="right", overflow="fold")
    for method, estimates in differences(results, config, against).items():
        table.add_row(method, *(estimates[m].signed() if m in estimates else "-" for m in config.metrics))
    Console().print(table)
