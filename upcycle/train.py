"""`upcycle train`: one training run from a run file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.training.run_config import RunConfig

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

LINE_EVERY = 50  # steps between lines where the output is no terminal


@app.command()
def train(
    run: Annotated[Path, typer.Option("--run", metavar="FILE", help="Run file (TOML).", show_default=False)],
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one value, as loop.epochs=3.")
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder of the server's data; the run is kept below it.")] = Path(
        "upcycle-data"
    ),
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew, also where the run was begun before.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Keep learning while scenes come into the store.")] = False,
    max_rounds: Annotated[
        int, typer.Option("--max-rounds", min=0, help="With --follow: end after so many rounds; 0 goes on.")
    ] = 0,
) -> None:
    """Train a detector; the same command goes on with a run that was stopped, and leaves a finished one alone.

    Several processes: torchrun --standalone --nproc-per-node 2 -m -- upcycle train --run FILE
    """
    from server.training.run_config import load_run
    from server.training.run_folder import RunFolder
    from upcycle import training_session

    config = load_run(run, changes or ())
    if follow or config.follow.is_on:
        _follow(config, data, fresh, max_rounds)
        return
    if max_rounds:
        raise typer.BadParameter("--max-rounds needs --follow")
    folder = RunFolder.of(data, config)
    is_first = os.environ.get("RANK", "0") == "0"
    with StepProgress(folder.run_id) as progress:
        outcome = training_session.train(config, data, progress, fresh, announce=progress.say)
    if is_first:
        how = "finished already, by a former call (--fresh begins anew)," if outcome.is_former else outcome.state
        took = "" if outcome.is_former else f" after {outcome.seconds:.0f} s"
        print(f"{how} at step {outcome.step} of {outcome.total_steps}{took}")
        print(f"run {folder.run_id}: {folder.path}")


def _follow(config: RunConfig, data: Path, fresh: bool, max_rounds: int) -> None:
    from server.training.run_folder import RunFolder
    from upcycle import follow_session

    config = follow_session.following(config)
    folder = RunFolder.of(data, config)
    with StepProgress(folder.run_id) as progress:
        outcome = follow_session.follow(config, data, progress, fresh, progress.say, max_rounds)
    print(f"stopped at step {outcome.step} after {outcome.seconds:.0f} s")
    print(f"run {folder.run_id}: {folder.path}")


class StepProgress:
    """A bar on a terminal, else a line now and then."""

    def __init__(self, name: str) -> None:
        self._console = Console(stderr=True)
        columns = (
            TextColumn(name),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
        )
        self._bar = Bar(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("", total=None, loss="")

    def __enter__(self) -> StepProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """One line above the bar."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def __call__(self, step: int, total: int, numbers: Mapping[str, float]) -> None:
        loss = f"loss {numbers['loss/total']:.3f}"
        self._bar.update(self._task, completed=step, total=total, loss=loss)
        if not self._console.is_terminal and (step % LINE_EVERY == 0 or step in (1, total)):
            self._console.print(f"step {step} of {total}, {loss}, {numbers['train/step_s']:.2f} s", highlight=False)
