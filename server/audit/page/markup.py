"""HTML from parts: every text is escaped where it becomes a part of the page, so that none can be forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

VOID: Final = ("img", "input", "meta", "br")


class Markup(str):
    """Text that is HTML already; any other text is escaped by `tag`."""

    __slots__ = ()


def joined(parts: Iterable[object], between: str = "\n") -> Markup:
    """Parts one after another; texts among them are escaped."""
    return Markup(between.join(_safe(part) for part in parts))


class Amount(Markup):
    """A number for a table, which stands to the right."""

    __slots__ = ()


def tag(name: str, /, *parts: object, **attributes: object) -> Markup:
    """An element. Attributes: `class_` is class, `_` in a name is `-`; True stands without a value, None and False
    are left out."""
    words = [name, *(_attribute(key, value) for key, value in attributes.items() if not _is_left_out(value))]
    start = f"<{' '.join(words)}>"
    return Markup(start if name in VOID else f"{start}{joined(parts, '')}</{name}>")


def paragraph(*parts: object) -> Markup:
    """A paragraph."""
    return tag("p", *parts)


def bullets(entries: Iterable[object]) -> Markup:
    """A list with a point before each entry."""
    return tag("ul", *(tag("li", entry) for entry in entries))


def section(identity: str, heading: str, *parts: object) -> Markup:
    """A section with its heading; the heading can be linked to."""
    head = tag("h2", heading, id=f"{identity}-heading")
    return tag("section", head, joined(parts), id=identity, aria_labelledby=f"{identity}-heading")


def table(caption: object, heads: Sequence[object], rows: Iterable[Sequence[object]], kind: str = "") -> Markup:
    """A table whose first column names its rows. A reader with a narrow window, or without a mouse, can scroll it."""
    lines = list(rows)
    columns = [_kind(line[place] for line in lines) for place in range(len(heads))]
    head = tag("tr", *(tag("th", cell, scope="col", class_=columns[place]) for place, cell in enumerate(heads)))
    body = [
        tag("tr", tag("th", line[0], scope="row"), *(tag("td", cell, class_=_kind([cell])) for cell in line[1:]))
        for line in lines
    ]
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body), class_=kind or None)
    return _scrolled(caption, whole)


def facts(caption: object, pairs: Iterable[tuple[str, object]]) -> Markup:
    """A table of names and what they are."""
    rows = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in pairs]
    return _scrolled(caption, tag("table", tag("caption", caption), tag("tbody", *rows), class_="facts"))


def note(*parts: object) -> Markup:
    """Something to be read with the rest."""
    return tag("div", *parts, class_="note", role="note")


def _kind(cells: Iterable[object]) -> str | None:
    """The class of a column's head, or of a cell: amounts stand to the right."""
    every = list(cells)
    return "amount" if every and all(isinstance(cell, int | float | Amount) for cell in every) else None


def _safe(part: object) -> str:
    return part if isinstance(part, Markup) else escape(str(part))


def _is_left_out(value: object) -> bool:
    return value is None or value is False


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    return name if value is True else f'{name}="{escape(str(value))}"'


def _scrolled(caption: object, whole: Markup) -> Markup:
    return tag("div", whole, class_="wide", tabindex="0", role="region", aria_label=_plain(caption))


def _plain(caption: object) -> str | None:
    """A caption as a label; one with elements inside labels nothing."""
    return None if isinstance(caption, Markup) else str(caption)
