"""`upcycle features`: fill a store with the features of a run file's unlabelled frames, as vehicles would send them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from shared_models.errors import ConfigError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def features(
    run: Annotated[Path, typer.Option("--run", metavar="FILE", help="Run file of recipe upcycling.")],
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one value.")] = None,
    data: Annotated[Path, typer.Option(help="Folder of the server's data.")] = Path("upcycle-data"),
) -> None:
    """Store features of the frames in data.unlabelled; `upcycle train` does the same before it begins."""
    from server.training.run_config import load_run
    from upcycle.fill_store import fill_for, uses_stored_features

    config = load_run(run, changes or ())
    if not uses_stored_features(config):
        raise ConfigError(f"{run}: needs recipe upcycling, data.unlabelled, and no settings.store.vehicle_id")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("extracting", total=None)
        filled = fill_for(config, data, lambda done, total: progress.update(task, completed=done, total=total))
    print(f"{filled.scenes} scenes of {filled.vehicle_id}, {filled.added} added now, {filled.payload_bytes:,} bytes")
