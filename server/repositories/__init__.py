"""Catalogues of stored scenes and logs of training runs, by name: `table.load(RUN_LOGS, "run log", name)`."""

from __future__ import annotations

CATALOGUES = {
    "sqlite": "server.repositories.sqlite:SqliteSceneCatalogue",
    "memory": "server.repositories.memory:MemorySceneCatalogue",
}

RUN_LOGS = {
    "sqlite": "server.repositories.sqlite_run_log:SqliteRunLog",
    "memory": "server.repositories.memory_run_log:MemoryRunLog",
}
