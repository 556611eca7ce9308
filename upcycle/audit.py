"""`upcycle audit`: what stored features give away, by attacks and in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from upcycle.audit_curve import curve
from upcycle.audit_gate import gate
from upcycle.audit_page import page
from upcycle.audit_tables import cell, decision_tables

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

SHOWN = {
    "f_score_0.2m": "F 0.2 m",
    "above_ground/f_score_0.2m": "above ground",
    "class/Car/f_score_0.2m": "on cars",
    "chamfer_m": "Chamfer m",
    "verbatim_share": "verbatim",
}
FILE_WIDTH = 140


@app.callback(invoke_without_command=True)
def audit(
    context: typer.Context,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="FILE", help="Audit file (TOML).", show_default=False)
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one value, as quick.victims=5.")
    ] = None,
    is_full: Annotated[bool, typer.Option("--full/--quick", help="The file's larger or smaller size.")] = False,
    checkpoint: Annotated[
        Path | None, typer.Option(help="The fleet's checkpoint, instead of the file's.", show_default=False)
    ] = None,
    guard: Annotated[
        str | None, typer.Option(metavar="NAME[,KEY=VALUE...]", help="Instead of the file's.", show_default=False)
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Where the report goes.", show_default=False)
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder of the server's data; finished attacks are kept below it.")] = Path(
        "upcycle-data"
    ),
    device: Annotated[str, typer.Option(help="Where attacks are trained: cpu or cuda.")] = "cpu",
    fresh: Annotated[bool, typer.Option("--fresh", help="Make attacks anew that finished before.")] = False,
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Leave scans and reconstructions out of the page.")
    ] = False,
) -> None:
    """Attack the features of a run file's scenes and measure what comes back.

    The same command goes on with an audit that was stopped. Its result is never that features are safe: only what the
    listed attacks recovered with the stated knowledge and budget.
    """
    if context.invoked_subcommand is not None:
        return
    if run is None:
        typer.echo(context.get_help())
        return
    import json

    import torch

    from server.audit.audit_config import load_audit
    from server.audit.page.page import write_page
    from server.audit.page.source import read_audited
    from server.audit.runner import AuditRun
    from server.training.atomic_files import write_whole
    from shared_models.errors import DeviceError

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceError("--device cuda: torch finds no GPU here; leave it out to use the processor")
    more = [f'detector.checkpoint="{checkpoint}"'] if checkpoint else []
    more += [f"upload.guard='{guard}'"] if guard else []
    config = load_audit(run, [*(changes or ()), *more])
    with Bars() as bars:
        session = AuditRun(config, data, "full" if is_full else "quick", device=device, tell=bars.tell, is_fresh=fresh)
        report = session.run()
    path = json_file or session.folder.path / "report.json"
    write_whole(path, (json.dumps(report, indent=1) + "\n").encode())
    show(report)
    print(f"report: {path}")
    page_path = path.with_suffix(".html")
    write_page(page_path, read_audited(session.folder.path, path), with_pictures=not no_pictures)
    print(f"page: {page_path}")


app.command()(gate)
app.command()(curve)
app.command()(page)


class Bars:
    """A bar for each part of the work, on a terminal."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, what: str, done: int, total: int) -> None:
        """Show how far a part is."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done, total=total)


def show(report: Mapping[str, Any]) -> None:
    """The report as tables on stdout, one for each group of victims: floors first, then attacks, then the ceiling."""
    scope = report["scope"]
    print(
        f"{scope['detector']} at {scope['split_layer']}, {scope['weights']}\n"
        f"codec {scope['codec']}, guard {scope['guard']}, backbone {scope['backbone_hash'][:12]}"
    )
    effect = scope.get("guard_effect")
    if effect and scope["guard"] != "none" and not effect["changed"]:
        print(f"GUARD WITHOUT EFFECT: {scope['guard']} changed none of {effect['payloads']} payloads.")
    for group in report["victims"]:
        _print(_table(report, group))
    for table, notes in decision_tables(report):
        _print(table)
        for note in notes:
            print(f"  {note}")
    for each in report["attacks"]:
        if each["cost"]["is_cut"]:
            print(f"{each['title']}: time ran out after {each['cost']['steps']} steps; with more, it may recover more.")
    print("Not tested: " + "; ".join(report["not_tested"]) + ".")


def _table(report: Mapping[str, Any], group: Mapping[str, Any]) -> Table:
    kind = "SIMULATED" if group["is_simulated"] else "real"
    table = Table(title=f"{group['name']}: {len(group['scenes'])} {kind} scenes, {group['relation']}")
    table.add_column("what", no_wrap=True)
    for title in SHOWN.values():
        table.add_column(title, justify="right", no_wrap=True)
    controls = report["controls"]
    rows = [(name, controls[name]) for name in sorted(controls, reverse=True) if name.startswith("floor")]
    rows += [(each["title"], each["groups"]) for each in report["attacks"] if each["kind"] == "reconstruction"]
    rows += [(name, controls[name]) for name in controls if name.startswith("ceiling")]
    for name, groups in rows:
        estimates = groups[group["name"]]["estimates"]
        table.add_row(name, *(cell(estimates.get(measure)) for measure in SHOWN))
    return table


def _print(table: Table) -> None:
    console = Console()
    (console if console.is_terminal else Console(width=FILE_WIDTH)).print(table)
