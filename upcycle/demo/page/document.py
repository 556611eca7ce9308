"""One HTML page about the whole demonstration; it needs no other file and no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from server.training.atomic_files import write_whole
from upcycle.demo.page import attacks, scores, sections
from upcycle.demo.page.markup import STYLE

TITLE: Final = "Upcycle: a fleet's features, learned from"


def write_page(path: Path, results: dict[str, Any]) -> None:
    """Write the page.

    Raises:
        StorageError, StorageFullError: it cannot be written, or a picture cannot be read.
    """
    write_whole(path, html_page(results).encode())


def html_page(results: dict[str, Any]) -> str:
    """The page as text. results: as `Story.tell` gives them; its pictures' files are there."""
    parts = (
        sections.overview(results),
        sections.fleet(results),
        sections.training(results),
        scores.section(results),
        attacks.section(results),
        sections.times(results),
    )
    body = "\n".join(parts)
    notice = (
        '<p class="simulated"><b>SIMULATED.</b> Every scan, street, vehicle and label on this page is simulated, and '
        "the trainings are far too short for a detector that anyone would drive with. What happens is real: the "
        "processes, the uploads, the learning and the attacks.</p>"
    )
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{TITLE}</title><style>{STYLE}</style>"
    )
    shown = f"<h1>{TITLE}</h1>\n{notice}{body}"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{shown}\n</body></html>\n'
