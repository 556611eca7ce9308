"""Catalogues of stored scenes, logs of training runs and the databases for both, by name.

`table.load(RUN_LOGS, "run log", name)` gives the class.
"""

from __future__ import annotations

CATALOGUES = {
    "sql": "server.repositories.sql_catalogue:SqlSceneCatalogue",
    "memory": "server.repositories.memory:MemorySceneCatalogue",
}

RUN_LOGS = {
    "sql": "server.repositories.sql_run_log:SqlRunLog",
    "memory": "server.repositories.memory_run_log:MemoryRunLog",
}

DATABASES = {
    "postgresql": "server.repositories.postgres:PostgresDatabase",
    "sqlite": "server.repositories.sqlite:SqliteFile",
}
