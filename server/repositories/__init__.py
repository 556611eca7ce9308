"""Catalogues of stored scenes, by name; `shared_models.table.load(CATALOGUES, "scene catalogue", name)`."""

from __future__ import annotations

CATALOGUES = {
    "sqlite": "server.repositories.sqlite:SqliteSceneCatalogue",
    "memory": "server.repositories.memory:MemorySceneCatalogue",
}
