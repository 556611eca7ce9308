"""`upcycle runs`: list, look at and compare training runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from server.repositories.run_log import RunLog, RunRecord

app = typer.Typer(help="List, look at and compare training runs.", no_args_is_help=True, add_completion=False)

DataOption = Annotated[Path, typer.Option("--data", help="Folder of the server's data.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunArgument = Annotated[str, typer.Argument(help="Run id, or its beginning.", show_default=False)]
DEFAULT_DATA = Path("upcycle-data")


@app.command(name="ls")
def list_runs(data: DataOption = DEFAULT_DATA, as_json: JsonOption = False) -> None:
    """List runs in the order they were begun."""
    with _opened(data) as log:
        rows = [_row(record) for record in log.runs()]
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    table = Table()
    for heading in ("run", "recipe", "seed", "state", "step", "begun"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        step = f"{row['step']:,} of {row['total_steps']:,}"
        table.add_row(escape(row["run_id"]), row["recipe"], str(row["seed"]), row["state"], step, row["created_at"])
    Console().print(table)


@app.command()
def show(run: RunArgument, data: DataOption = DEFAULT_DATA, as_json: JsonOption = False) -> None:
    """Show one run: state, last numbers, evaluations, and its complete run file."""
    with _opened(data) as log:
        record = log.run(run)
        last = _last_numbers(log, record.run_id)
        evaluations = [json.loads(found.report) | {"step": found.step} for found in log.evaluations(record.run_id)]
    shown = {"run": _row(record), "last": last, "evaluations": evaluations, "run_file": json.loads(record.run_file)}
    if as_json:
        print(json.dumps(shown))
        return
    for key, value in shown["run"].items():
        print(f"{key:<20} {value}")
    for name, (step, value) in last.items():
        print(f"  {name:<44} {value:12.4f}  at step {step}")
    print(record.run_file, end="")


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Run ids, or their beginnings.", show_default=False)],
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Put runs side by side: what differs in their run files, and the last value of each number that they share."""
    with _opened(data) as log:
        records = [log.run(run) for run in runs]
        numbers = [_last_numbers(log, record.run_id) for record in records]
    settings = [flat(json.loads(record.run_file)) for record in records]
    keys = sorted({key for own in settings for key in own})
    rows = [(key, [own.get(key) for own in settings]) for key in keys]
    differing = [(key, values) for key, values in rows if any(value != values[0] for value in values)]
    shared = [name for name in numbers[0] if all(name in own for own in numbers)]
    if as_json:
        ids = [record.run_id for record in records]
        values = {name: [own[name][1] for own in numbers] for name in shared}
        print(json.dumps({"runs": ids, "differ": dict(differing), "last": values}))
        return
    table = Table()
    table.add_column("")
    for record in records:
        table.add_column(escape(record.run_id), overflow="fold", justify="right")
    for key, found in differing:
        table.add_row(escape(key), *(escape(str(value)) for value in found))
    table.add_section()
    for name in shared:
        table.add_row(escape(name), *(f"{own[name][1]:.4f}" for own in numbers))
    Console().print(table)


@app.command()
def affected(
    vehicle: Annotated[str, typer.Option(metavar="TAG", help="A vehicle's tag, as in `upcycle server ls`.")] = "",
    scene: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A stored scene's id, or its beginning; several times.")
    ] = None,
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """List checkpoints and saved states that learned from a vehicle's scenes, or from single scenes."""
    from server.training.seen_scenes import checkpoints_that_saw

    found = checkpoints_that_saw(data, vehicle=vehicle, scene_ids=scene or ())
    if as_json:
        for each in found:
            print(json.dumps({"run_id": each.run_id, "path": str(each.path), "scenes": each.scenes}))
        return
    for each in found:
        seen = "no record of its scenes" if each.scenes is None else f"{each.scenes} scenes"
        print(f"{each.path}  {seen}")
    print(f"{len(found)} affected", flush=True)


@app.command()
def quarantine(
    run: RunArgument,
    release: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Let the run learn from this scene; several times.")
    ] = None,
    reject: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Never learn from this scene; several times.")
    ] = None,
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """List the scenes that a run which follows its store keeps out, and why; or decide about some of them."""
    from server.training.follow_records import FollowRecords

    with _opened(data) as log:
        records = FollowRecords(data / "runs" / log.run(run).run_id)
    records.settle(release or (), "released", time.time_ns())
    records.settle(reject or (), "rejected", time.time_ns())
    if release or reject:
        print(f"{len(release or ())} released, {len(reject or ())} rejected; the run's next look takes note")
        return
    waiting = [decision for decision in records.decisions().values() if decision.state == "quarantined"]
    if as_json:
        for decision in waiting:
            print(json.dumps(decision.to_dict()))
        return
    table = Table()
    for heading in ("scene", "vehicle", "round", "distance", "why"):
        table.add_column(heading, overflow="fold")
    for decision in waiting:
        distance = "" if decision.distance is None else f"{decision.distance:.1f}"
        why = "; ".join(_said(reason) for reason in decision.reasons)
        table.add_row(decision.scene_id[:12], decision.vehicle, str(decision.round), distance, escape(why))
    Console().print(table)


def _said(reason: Mapping[str, Any]) -> str:
    if reason["value"] is None or reason["expected"] is None:
        return str(reason["statistic"])
    return f"{reason['statistic']} {reason['value']:.3g}, expected about {reason['expected']:.3g}"


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        inner = flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        found.update(inner)
    return found


def _last_numbers(log: RunLog, run_id: str) -> dict[str, tuple[int, float]]:
    return {scalar.name: (scalar.step, scalar.value) for scalar in log.scalars(run_id)}


def _row(record: RunRecord) -> dict[str, Any]:
    state = "stopped?" if record.is_silent(time.time_ns()) else record.state
    created_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created_at_ns / 1e9))
    return {
        "run_id": record.run_id, "name": record.name, "recipe": record.recipe, "seed": record.seed, "state": state,
        "step": record.step, "total_steps": record.total_steps, "created_at": created_at, "message": record.message,
        "folder": record.folder, "run_file_sha256": record.run_file_sha256, "code_version": record.code_version,
    }  # fmt: skip


@contextmanager
def _opened(data: Path) -> Iterator[RunLog]:
    from server.repositories.archive import open_run_log

    log = open_run_log(data)
    try:
        yield log
    finally:
        log.close()
