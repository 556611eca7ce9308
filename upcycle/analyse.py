"""`upcycle analyse`: measurements on a run's detector and data that are not its training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

if TYPE_CHECKING:
    from upcycle.augmentation_analysis import AugmentationAnalysis

app = typer.Typer(help="Measure a run's detector and data.", no_args_is_help=True, add_completion=False)


@app.callback()
def root() -> None:
    """Keeps `augmentation` a subcommand while it is the only one."""


@app.command()
def augmentation(
    run: Annotated[Path, typer.Option("--run", metavar="FILE", help="Run file (TOML).", show_default=False)],
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one value.")] = None,
    data: Annotated[Path, typer.Option(help="Folder of the server's data.")] = Path("upcycle-data"),
    checkpoint: Annotated[
        Path | None, typer.Option(help="Checkpoint; the run's last one unless given.", show_default=False)
    ] = None,
    scenes: Annotated[int, typer.Option(min=1, help="At most so many scenes, spread evenly.")] = 50,
    numbers: Annotated[str, typer.Option(help="Objects drawn for each class, for ground-truth sampling.")] = "15,10,10",
    seed: Annotated[int, typer.Option(min=0, help="Of angles and drawn objects.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder of JSON and picture; the run's own unless given.", show_default=False)
    ] = None,
) -> None:
    """RMSE between augmenting points and augmenting features (UpCycling, section 4 and supplement B.1)."""
    from server.training.run_config import load_run
    from shared_models.errors import ConfigError
    from upcycle.augmentation_analysis import AnalysisConfig, analyse_augmentation

    if not all(word.isdigit() for word in numbers.split(",")):
        raise ConfigError(f"--numbers: expected whole numbers as in 15,10,10, got {numbers!r}")
    config = AnalysisConfig(scenes=scenes, numbers=tuple(int(word) for word in numbers.split(",")), seed=seed)
    loaded = load_run(run, changes or ())
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=None)
        found = analyse_augmentation(
            loaded, data, checkpoint, config, lambda done, total: progress.update(task, completed=done, total=total)
        )
    if not found.is_trained:
        typer.echo(
            "warning: these are seeded, UNTRAINED weights; train the run or give --checkpoint before you read anything "
            "into the numbers",
            err=True,
        )
    _print_table(found)
    for path in _written(found, out or found.folder):
        print(path)


def _print_table(found: AugmentationAnalysis) -> None:
    table = Table(title=f"RMSE of features, {found.title}: mean (median) of scenes")
    table.add_column("augmentation")
    for column in found.columns:
        table.add_column(column, justify="right")
    for name in found.augmentations:
        shown = [found.estimate(name, column) for column in found.columns]
        table.add_row(name, *(f"{mean:.4f} ({median:.4f})" for mean, median in shown))
    Console().print(table)
    for column in found.columns:
        print(f"{column}: {' > '.join(found.order(column))}")


def _written(found: AugmentationAnalysis, folder: Path) -> tuple[Path, Path]:
    import json

    from server.training.atomic_files import write_whole
    from upcycle.augmentation_picture import draw

    json_file, picture = folder / "augmentation.json", folder / "augmentation.png"
    write_whole(json_file, (json.dumps(found.to_dict(), indent=1) + "\n").encode())
    write_whole(picture, draw(found))
    return json_file, picture
