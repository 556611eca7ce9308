"""`upcycle audit curve`: what guards and codecs cost in detection quality, against what they keep from attackers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_WIDTH = 160
SHORT = {
    "f_score_0.2m": "F 0.2 m",
    "above_ground/f_score_0.2m": "above ground",
    "class/Car/f_score_0.2m": "on cars",
    "verbatim_share": "verbatim",
}


def curve(
    run: Annotated[Path, typer.Option("--run", metavar="FILE", help="Curve file (TOML).", show_default=False)],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="What trainings start from and attacks are made on, instead of the file's.", show_default=False
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Make this cell only; may be given again.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value, as training.change.loop.steps=20."),
    ] = None,
    show_only: Annotated[bool, typer.Option("--show", help="Make nothing; show what is finished.")] = False,
    data: Annotated[Path, typer.Option(help="Folder of the server's data; finished cells are kept below it.")] = Path(
        "upcycle-data"
    ),
    device: Annotated[str, typer.Option(help="Where attacks are trained: cpu or cuda.")] = "cpu",
) -> None:
    """Train and attack with each guard and codec of a file, and draw what comes out.

    Every cell is an UpCycling training on features that went through its guard and codec, and an audit whose attackers
    were trained on such features too. Stopped, the same command goes on where it was. Ends with code 1 where a cell
    could not be made, and says why.
    """
    from server.audit.curve.curve_config import load_curve
    from server.audit.curve.curve_picture import draw_curve
    from upcycle.audit import Bars
    from upcycle.audit_curve_session import CurveSession

    words = [*(changes or ()), *([f'checkpoint="{checkpoint}"'] if checkpoint else [])]
    loaded = load_curve(run, words)
    console = Console(stderr=True)
    with Bars() as bars:
        session = CurveSession(
            loaded,
            data,
            device=device,
            tell=bars.tell,
            say=lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True),
        )
        if not show_only:
            session.fill(only or ())
    found = session.table()
    groups = [group["name"] for group in found["audit"].get("victims", ())]
    if groups:
        path = session.folder.write(found, draw_curve(found, groups[0]))
    for group in groups:
        _print(_table(found, group))
    for control in found["controls"]:
        print(f"{control['name']}: {_all(control['ap'])}")
    print(f"before training: {_all(found['start'])}")
    if groups:
        print(f"curve: {path}")
    missing = [cell["name"] for cell in found["cells"] if cell["state"] == "missing"]
    if missing:
        print(f"{len(missing)} of {len(found['cells'])} cells are not made yet: {'; '.join(missing)}")
    if session.failures:
        print(f"{len(session.failures)} could not be made:")
        for name, reason in session.failures.items():
            print(f"  {name}: {reason}")
        raise typer.Exit(1)


def _table(found: Mapping[str, Any], group: str) -> Table:
    metrics, measures = found["training"]["metrics"], found["measures"]
    victims = next(each for each in found["audit"]["victims"] if each["name"] == group)
    kind = "SIMULATED" if victims["is_simulated"] else "real"
    table = Table(title=f"{group}: {victims['scenes']} {kind} scenes; of each measure, the strongest attack")
    for title in ("cell", "codec"):
        table.add_column(title, no_wrap=True)
    titles = [metric.removeprefix("ap_all/") for metric in metrics] + [SHORT.get(name, name) for name in measures]
    for title in ("kB/scene", *titles):
        table.add_column(title, justify="right", overflow="fold")
    for cell in found["cells"]:
        if cell["state"] == "finished":
            leaks = cell["leakage"].get(group, {})
            table.add_row(
                cell["name"],
                cell["codec"],
                f"{cell['bytes_per_scene'] / 1e3:.1f}",
                *(_shown(cell["ap"].get(metric), 1) for metric in metrics),
                *(_shown(leaks.get(name, {}).get("estimate"), 2) for name in measures),
            )
    for which in ("floors", "ceilings"):
        for name, estimates in found[which].get(group, {}).items():
            table.add_row(
                f"{which[:-1]}: {name}", "", "", *("" for _ in metrics),
                *(_shown(estimates.get(measure), 2) for measure in measures),
            )  # fmt: skip
    return table


def _all(numbers: Mapping[str, Any]) -> str:
    return ", ".join(f"{metric.removeprefix('ap_all/')} {_shown(each, 1)}" for metric, each in numbers.items())


def _shown(estimate: Mapping[str, Any] | None, digits: int) -> str:
    if estimate is None or estimate["mean"] is None:
        return "–"
    mean = f"{estimate['mean']:.{digits}f}"
    if estimate["low"] is None or estimate["high"] is None:
        return mean
    return f"{mean} ({estimate['low']:.{digits}f}–{estimate['high']:.{digits}f})"


def _print(table: Table) -> None:
    console = Console()
    (console if console.is_terminal else Console(width=FILE_WIDTH)).print(table)
