"""`upcycle audit page`: the page of a finished audit, made again, with more beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def page(
    folder: Annotated[Path, typer.Argument(metavar="REPORT_DIR", help="Folder of a finished audit.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where the page goes; beside the report unless given.")
    ] = None,
    curve: Annotated[
        Path | None, typer.Option(metavar="FILE", help="curve.json of `upcycle audit curve`.", show_default=False)
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(metavar="REPORT_DIR", help="An audit of the same scenes at another layer; may be repeated."),
    ] = None,
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Leave scans and reconstructions out of the page.")
    ] = False,
) -> None:
    """Make the page of an audit again, with a curve over guards and with other layers beside it."""
    from server.audit.curve.curve_file import read_curve
    from server.audit.page.page import write_page
    from server.audit.page.source import read_audited

    with_pictures = not no_pictures
    audited = read_audited(folder, with_scenes=with_pictures)
    others = [read_audited(other, with_scenes=with_pictures) for other in beside or ()]
    path = out or folder / "report.html"
    drawn = None if curve is None else read_curve(curve)
    write_page(path, audited, curve=drawn, beside=others, with_pictures=with_pictures)
    print(f"page: {path}")
