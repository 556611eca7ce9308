"""Who may look at the wall clock, which jumps: nobody who measures how long something takes."""

from __future__ import annotations

import ast
from pathlib import Path

MAY_LOOK = {
    "bandwidth.py": "dates of the daily budget, kept so that no jump gives a day twice",
    "selector.py": "hours and days of the selection's budget, kept in the same way",
    "pipeline.py": "the time of a frame that has none of its own",
    "drive.py": "the sign of life, read by other processes",
    "cli.py": "the same, and the dates of a certificate",
    "sensors/replay.py": "the time that stamps a frame when a dataset is played again",
}
WALL = {"time", "time_ns", "now", "utcnow", "today"}


def looks_at_the_wall_clock(path: Path) -> bool:
    """Whether it names `time.time`, `time.time_ns`, `datetime.now` or their like."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    imported = {
        name.name for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "time" for name in node.names
    }
    named = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("time", "datetime", "date")
    }
    return bool(WALL & (imported | named))


def test_only_dates_are_read_from_the_wall_clock(repository: Path):
    folder = repository / "vehicle_client"
    looking = {str(path.relative_to(folder)) for path in folder.rglob("*.py") if looks_at_the_wall_clock(path)}
    assert looking == set(MAY_LOOK)
