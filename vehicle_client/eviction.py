"""Which scenes leave a full outbox: the lowest priority class first, within a class the one that was put first."""

from __future__ import annotations

import sqlite3

from vehicle_client.priority import Priority


def choose_evictions(database: sqlite3.Connection, excess_bytes: int, priority: Priority) -> dict[str, int] | None:
    """Sizes by id of the waiting scenes that must go so that a new one of class `priority` fits.

    None where all scenes of its class and below would not do: then it is the new one that has to go, and no other.
    """
    chosen: dict[str, int] = {}
    if excess_bytes <= 0:
        return chosen
    query = "SELECT scene_id, payload_bytes FROM scenes WHERE priority <= ? ORDER BY priority, sequence"
    for scene_id, payload_bytes in database.execute(query, (int(priority),)):
        chosen[scene_id] = payload_bytes
        excess_bytes -= payload_bytes
        if excess_bytes <= 0:
            return chosen
    return None
