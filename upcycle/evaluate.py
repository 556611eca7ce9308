"""`upcycle evaluate`: how well detections agree with labels."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from click.core import ParameterSource
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from shared_models.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from server.evaluation.kitti_report import KittiReport
    from server.evaluation.objects import EvaluatedFrame
    from server.evaluation.waymo import WaymoReport

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

FILE_WIDTH = 160  # a file has no width; cells are not broken there
OVERLAPS = ("strict", "loose")


@app.callback(invoke_without_command=True)
def evaluate(
    context: typer.Context,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="FILE", help="Run file: its last checkpoint on its data.evaluation."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="With --run: change one value."),
    ] = None,
    data: Annotated[Path, typer.Option(help="With --run: folder of the server's data.")] = Path("upcycle-data"),
    checkpoint: Annotated[
        Path | None, typer.Option(help="With --run: another checkpoint, or an OpenPCDet .pth file.", show_default=False)
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="With --run: where the numbers go.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="With --run: where the page with pictures goes.")
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(help="With --run: draws of the frames for 95 % intervals; 0 gives none.", min=0)
    ] = 0,
    guard: Annotated[
        str, typer.Option(help="With --run: what the features go through before, as those of vehicles with that guard.")
    ] = "none",
    against: Annotated[
        Path | None,
        typer.Option(help="With --bootstrap: an earlier checkpoint; shows the difference to it.", show_default=False),
    ] = None,
) -> None:
    """Score detections by KITTI's rules: a checkpoint's with --run, or those in text files with `kitti`.

    With --run, also by Waymo's rules where the run file's evaluation.rules names them.
    """
    _require_used(context, has_run=run is not None)
    if context.invoked_subcommand is not None:
        return
    if run is None:
        typer.echo(context.get_help())
        return
    if against is not None and not bootstrap:
        raise ConfigError("--against needs --bootstrap: how often the frames are drawn, for example 1000")
    from upcycle.evaluate_run import Outputs, evaluate_from_run

    evaluate_from_run(
        run,
        changes or [],
        data,
        checkpoint,
        Outputs(json_file=json_file, html_file=html_file),
        bootstrap,
        against,
        guard,
    )


def _require_used(context: typer.Context, has_run: bool) -> None:
    """Refuse options that nothing would read."""
    options = {parameter.name or "": parameter.opts[0] for parameter in context.command.params}
    given = [
        option for name, option in options.items() if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if not given:
        return
    if context.invoked_subcommand is not None:
        command = context.invoked_subcommand
        raise ConfigError(f"evaluate: {', '.join(given)} before `{command}` would be ignored; put options after it")
    if not has_run:
        raise ConfigError(f"evaluate: {', '.join(given)} without --run: give --run FILE, or use `evaluate kitti`")


@app.command()
def kitti(
    labels: Annotated[Path, typer.Option(metavar="DIR", help="Folder of label files NNNNNN.txt.", show_default=False)],
    detections: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of detection files NNNNNN.txt.", show_default=False)
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all numbers.", show_default=False)
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with pictures.", show_default=False)
    ] = None,
    overlap: Annotated[str, typer.Option(help="KITTI's strict overlaps, or the loose ones.")] = "strict",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="A missing detection file is one without detections.")
    ] = False,
) -> None:
    """Score a folder of detections in KITTI's text format."""
    from server.evaluation.kitti import evaluate_kitti
    from server.evaluation.kitti_config import LOOSE, STRICT, KittiEvaluationConfig

    if overlap not in OVERLAPS:
        raise ConfigError(f"--overlap: expected {' or '.join(OVERLAPS)}, got {overlap!r}")
    config = KittiEvaluationConfig(classes=STRICT if overlap == "strict" else LOOSE)
    frames = _read(labels, detections, allow_missing)
    report = evaluate_kitti(frames, config)
    if json_file is not None:
        _write(json_file, json.dumps(report.to_dict(), indent=1) + "\n")
    if html_file is not None:
        from server.evaluation.report import write_report

        write_report(html_file, report, frames, f"Detections in {detections}")
    print_report(report)


def print_report(report: KittiReport) -> None:
    """The scores as a table on stdout; the warnings are log lines already."""
    difficulties = [difficulty.name for difficulty in report.config.difficulties]
    table = Table(title=f"{len(report.outcomes):,} frames, AP in percent: at 40 recall points, and at all points")
    table.add_column("class (objects)", no_wrap=True)
    table.add_column("metric", no_wrap=True)
    for name in [f"{name} {kind}" for kind in ("R40", "all") for name in difficulties]:
        table.add_column(name, justify="right")
    shown = ("image", "aos", "bev", "3d")
    for rule in report.config.classes:
        scores = [score for score in report.scores if score.class_name == rule.name]
        names = [name for name in shown if any(score.metric == name for score in scores)]
        for metric in names:
            own = [score for score in scores if score.metric == metric]
            about = f"{rule.name} ({'/'.join(str(score.objects) for score in own)})" if metric == names[0] else ""
            cells = [_percent(score.ap_r40) for score in own] + [_percent(score.ap_all) for score in own]
            table.add_row(about, metric, *cells, end_section=metric == names[-1])
    _print(table)


def print_waymo(report: WaymoReport) -> None:
    """AP and APH by Waymo's rules as a table on stdout."""
    table = Table(title="Waymo's rules, 3D, in percent")
    for name in ("class", "level"):
        table.add_column(name, no_wrap=True)
    for name in ("objects", "AP", "APH"):
        table.add_column(name, justify="right")
    for score in report.scores:
        numbers = (str(score.objects), _percent(score.ap), _percent(score.aph))
        table.add_row(score.class_name, score.level.upper(), *numbers)
    _print(table)


def _print(table: Table) -> None:
    console = Console()
    (console if console.is_terminal else Console(width=FILE_WIDTH)).print(table)


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _read(labels: Path, detections: Path, allow_missing: bool) -> list[EvaluatedFrame]:
    from server.evaluation.kitti_folders import read_folders

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=None)
        return read_folders(
            labels,
            detections,
            allow_missing=allow_missing,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
