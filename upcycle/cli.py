"""The `upcycle` command: a table of subcommands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from shared_models.errors import OperatorError, SenderError, UpcycleError
from upcycle.lazy import Entry, is_own, lazy_group, missing_library
from upcycle.log_lines import FieldFormatter

COMMANDS = {
    "vehicle": Entry(
        target="vehicle_client.cli:app",
        help="Turn LiDAR scans into features and send them to a server.",
        extra="vehicle",
    ),
    "server": Entry(
        target="server.cli:app", help="Receive, store and list the scenes that vehicles send.", extra="server"
    ),
    "dashboard": Entry(
        target="server.dashboard.cli:app",
        help="Look at vehicles, stored scenes and training runs in a browser.",
        extra="server",
    ),
    "train": Entry(
        target="upcycle.train:app",
        help="Train a detector from a run file, or go on with a stopped run.",
        extra="server",
    ),
    "features": Entry(
        target="upcycle.features:app", help="Store the features of a run file's unlabelled frames.", extra="dev"
    ),
    "runs": Entry(target="upcycle.runs:app", help="List, look at and compare training runs.", extra="server"),
    "experiment": Entry(
        target="upcycle.experiment:app",
        help="Run a grid of methods, splits and seeds, and print its table.",
        extra="server",
    ),
    "analyse": Entry(
        target="upcycle.analyse:app",
        help="Measure how far augmented features are from features of augmented points.",
        extra="plot",
    ),
    "parity": Entry(
        target="upcycle.parity:app",
        help="Compare this build's detector with reference outputs, stage by stage.",
        extra="dev",
    ),
    "evaluate": Entry(
        target="upcycle.evaluate:app",
        help="Score a checkpoint or files of detections by KITTI's rules, a checkpoint by Waymo's too.",
        extra="server",
    ),
    "audit": Entry(
        target="upcycle.audit:app",
        help="Attack stored features and measure what comes back.",
        extra="audit",
    ),
    "data": Entry(
        target="upcycle.data:app",
        help="List, draw, export and measure the frames of any dataset, simulated or real.",
        extra="plot",
    ),
    "splits": Entry(
        target="upcycle.splits:app",
        help="Make and check manifests of labelled frames for partial-label training.",
        extra="server",
    ),
    "demo": Entry(
        target="upcycle.demo.command:app",
        help="Show everything with simulated scans: fleet, uploads, training, AP before and after, audit, one page.",
        extra="dev",
    ),
}

EXIT_CALLER, EXIT_OPERATOR, EXIT_SENDER, EXIT_INTERRUPTED = 2, 3, 4, 130

app = typer.Typer(
    cls=lazy_group(COMMANDS),
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Features instead of raw LiDAR scans: vehicles upload them, a server detects and learns from them.",
)


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        typer.echo(f"upcycle {version('upcycle-fleet')}")
    except PackageNotFoundError:
        typer.echo("upcycle (run from its source folder, not installed)")
    raise typer.Exit


@app.callback()
def root(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="UPCYCLE_DEBUG", help="Show tracebacks and debug log lines.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what happens as log lines.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version and stop.")
    ] = False,
) -> None:
    if debug:
        os.environ["UPCYCLE_DEBUG"] = "1"  # seen by main() and by processes that the command starts
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FieldFormatter())
    logging.basicConfig(level=level, handlers=[handler])


def exit_code(error: UpcycleError) -> int:
    """2 where the caller can act, 3 where the operator can, 4 where the sender of a message can."""
    if isinstance(error, OperatorError):
        return EXIT_OPERATOR
    return EXIT_SENDER if isinstance(error, SenderError) else EXIT_CALLER


def main() -> None:
    """Run the command line; an error of the project is one line on stderr, a traceback only with --debug."""
    try:
        _run()
    except UpcycleError as error:
        if os.environ.get("UPCYCLE_DEBUG", "").lower() in {"1", "true", "yes", "on"}:
            raise
        typer.echo(f"upcycle: {error}", err=True)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _run() -> None:
    """The command line; a library that a command imports only when it runs is reported as one that is missing."""
    try:
        app()
    except ModuleNotFoundError as error:
        name = next((word for word in sys.argv[1:] if word in COMMANDS), None)
        if name is None or is_own(error):
            raise
        raise missing_library(name, COMMANDS[name], error) from error
