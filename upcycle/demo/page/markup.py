"""Pieces of HTML, and numbers that say where in the JSON they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from shared_models.errors import StorageError

STYLE: Final = """
:root { --ink: #1b2330; --line: #d8dee8; --soft: #eef2f7; --blue: #0072b2; --red: #d55e00; --green: #009e73; }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); max-width: 1080px; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .2rem 0 .8rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: .9rem; border-top: 2px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
.simulated { background: #fff6dd; border-left: 5px solid #e69f00; padding: .5rem 1rem; margin: 0 0 1.2rem; }
.problem { background: #fdeae2; border-left: 5px solid var(--red); padding: .5rem 1rem; }
.good { background: #e6f5f0; border-left: 5px solid var(--green); padding: .5rem 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; font-size: .93rem; }
th, td { padding: .3rem .75rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
th { background: var(--soft); font-weight: 600; }
caption { caption-side: bottom; text-align: left; font-size: .85rem; color: #4d5869; padding-top: .3rem; }
.says { background: var(--soft); border-left: 5px solid var(--blue); padding: .5rem 1rem; }
.wide { overflow-x: auto; }
.interval { color: #4d5869; font-size: .85em; white-space: nowrap; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: .8rem; }
.card { border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem; }
.card b { display: block; font-size: 1.5rem; line-height: 1.25; }
.card span { font-size: .85rem; color: #4d5869; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .8rem; }
.pair img { width: 100%; height: auto; display: block; }
figure { margin: 0 0 1.2rem; } figcaption { font-size: .85rem; color: #4d5869; }
svg { max-width: 100%; height: auto; }
code, pre { font: .85rem/1.5 ui-monospace, monospace; }
pre { background: var(--soft); padding: .7rem; overflow-x: auto; }
iframe { width: 100%; height: 80vh; border: 1px solid var(--line); }
summary { cursor: pointer; }
@media print { h2 { break-after: avoid; } figure, table { break-inside: avoid; } details { display: none; } }
"""

Form = Callable[[Any], str]
Cell = str


class Numbers:
    """Numbers of the results, each marked with its place in them."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self._results = results

    def at(self, *path: str | int) -> Any:
        """What stands there."""
        found: Any = self._results
        for step in path:
            found = found[step]
        return found

    def show(self, form: Form, *path: str | int) -> Cell:
        """A number as `form` writes it; a dash where there is none."""
        value = self.at(*path)
        text = "–" if value is None else form(value)
        place = escape("|".join(str(step) for step in path))
        return f'<data value="{escape(repr(value))}" data-path="{place}">{escape(text)}</data>'


def whole(value: float) -> str:
    """1234567 as 1,234,567."""
    return f"{value:,.0f}"


def tenth(value: float) -> str:
    """With one decimal."""
    return f"{value:.1f}"


def signed(value: float) -> str:
    """With its sign and one decimal."""
    return f"{value:+.1f}".replace("-", "−")


def hundredth(value: float) -> str:
    """With two decimals."""
    return f"{value:.2f}"


def kilobytes(value: float) -> str:
    """Bytes in thousands."""
    return f"{value / 1e3:,.1f} KB"


def megabytes(value: float) -> str:
    """Bytes in millions."""
    return f"{value / 1e6:,.1f} MB"


def seconds(value: float) -> str:
    """Whole seconds."""
    return f"{value:,.0f} s"


def small(value: float) -> str:
    """Three digits that count."""
    return f"{value:.3g}"


def read_file(path: str) -> bytes:
    """A file that the page has inside it.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}; begin anew in another folder") from error


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], caption: str = "") -> str:
    """A table; heads are plain text, cells are HTML."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    below = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{below}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def card(number: Cell, words: str) -> str:
    """A large number with what it is below."""
    return f'<div class="card"><b>{number}</b><span>{escape(words)}</span></div>'
