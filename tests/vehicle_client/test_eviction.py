from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from vehicle_client.eviction import choose_evictions
from vehicle_client.outbox_database import open_database
from vehicle_client.priority import Priority


@pytest.fixture
def waiting(tmp_path: Path) -> sqlite3.Connection:
    """Five scenes: name, bytes, class."""
    database = open_database(tmp_path)
    for name, size, priority in (("a", 10, 2), ("b", 20, 0), ("c", 30, 1), ("d", 40, 0), ("e", 50, 3)):
        database.execute(
            "INSERT INTO scenes (scene_id, manifest, payload_bytes, priority) VALUES (?, '', ?, ?)",
            (name, size, priority),
        )
    return database


@pytest.mark.parametrize(
    ("excess", "priority", "chosen"),
    [
        (0, Priority.LOW, ""),
        (-5, Priority.LOW, ""),
        (1, Priority.URGENT, "b"),  # lowest class, oldest first, however large the others are
        (21, Priority.LOW, "bd"),
        (61, Priority.ROUTINE, "bdc"),
        (91, Priority.HIGH, "bdca"),
        (150, Priority.URGENT, "bdcae"),
    ],
)
def test_the_least_important_go_first_then_the_oldest(waiting, excess: int, priority: Priority, chosen: str):
    assert "".join(choose_evictions(waiting, excess, priority)) == chosen


@pytest.mark.parametrize(("excess", "priority"), [(61, Priority.LOW), (91, Priority.ROUTINE), (151, Priority.URGENT)])
def test_what_is_more_important_stays(waiting, excess: int, priority: Priority):
    assert choose_evictions(waiting, excess, priority) is None
