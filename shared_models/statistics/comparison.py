"""Statistics of several datasets as one table: simulated ones beside the real one that each is compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared_models.errors import ConfigError, StorageError
from shared_models.statistics.summary import ALL_ROWS, Statistics

LIMIT = 1.5
UNCOMPARED = ("frames",)
BEGIN, END = "<!-- statistics: begin -->", "<!-- statistics: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the table: a dataset's values, or the ratio of two datasets.

    off: rows whose ratio is beyond 1.5 either way.
    """

    heading: str
    cells: Mapping[str, str]
    off: frozenset[str] = frozenset()


def ratio(simulated: Statistics, real: Statistics) -> dict[str, float]:
    """Simulated divided by real, for every row that both have and that can be compared."""
    shared = [r for r in ALL_ROWS if r in simulated.values and r in real.values and r not in UNCOMPARED]
    return {row: simulated.values[row] / real.values[row] for row in shared if real.values[row]}


def columns(everything: Sequence[Statistics], pairs: Sequence[tuple[str, str]]) -> list[Column]:
    """A column for each dataset, and after it its ratio to each dataset that `pairs` joins it with.

    Raises:
        ConfigError: `pairs` names a dataset that is not there.
    """
    by_name = {statistics.name: statistics for statistics in everything}
    unknown = [name for pair in pairs for name in pair if name not in by_name]
    if unknown:
        raise ConfigError(f"cannot compare with {unknown[0]!r}; known: {', '.join(by_name)}")
    table: list[Column] = []
    for statistics in everything:
        cells = {row: cell(row, statistics) for row in ALL_ROWS if row in statistics.values}
        table.append(Column(heading=statistics.name, cells=cells))
        partners = [by_name[other] for one, other in pairs if one == statistics.name]
        table.extend(_ratio_column(statistics, partner) for partner in partners)
    return table


def _ratio_column(simulated: Statistics, real: Statistics) -> Column:
    found = ratio(simulated, real)
    off = frozenset(row for row, value in found.items() if not 1 / LIMIT <= value <= LIMIT)
    return Column(heading=f"÷ {real.name}", cells={row: f"{value:.2f}" for row, value in found.items()}, off=off)


def cell(row: str, statistics: Statistics) -> str:
    """A value with as many digits as it deserves; behind it, how many cars it rests on where those are counted."""
    value = statistics.values[row]
    if not math.isfinite(value):
        return ""
    text = f"{value:,.0f}" if value >= 100 or row == "frames" or row.startswith("elevation rows") else f"{value:.3g}"
    return f"{text} ({statistics.counts[row]})" if row in statistics.counts else text


def markdown(table: Sequence[Column]) -> str:
    """The table in Markdown; ratios beyond 1.5 are bold."""
    rows = [row for row in ALL_ROWS if any(row in column.cells for column in table)]
    lines = [["", *(column.heading for column in table)], ["---", *("---:" for _ in table)]]
    for row in rows:
        cells = [column.cells.get(row, "") for column in table]
        lines.append([row, *(f"**{c}**" if row in column.off else c for c, column in zip(cells, table, strict=True))])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def insert_into(path: Path, text: str) -> None:
    """Replace what stands between the two markers in a Markdown file.

    Raises:
        ConfigError: the file is missing or has no such markers.
        StorageError: it cannot be written.
    """
    try:
        before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{path}: expected the lines {BEGIN} and {END}; add them where the table shall stand")
    try:
        path.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
