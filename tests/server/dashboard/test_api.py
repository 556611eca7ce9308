"""docs/dashboard.md and the application agree on every path and on the form of every answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount, Route

from server.dashboard.address import Address
from server.dashboard.api import Sources, make_api
from server.dashboard.app import make_app
from server.dashboard.scene_view import SceneViewer
from server.repositories.archive import SceneArchive
from server.repositories.memory import MemorySceneCatalogue
from server.repositories.memory_run_log import MemoryRunLog
from server.stores.memory import MemoryPayloadStore
from tests.dashboard_data import Client

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "dashboard.md"
SECTION = re.compile(r"^### `GET (\S+)`\n(.*?)^```json\n(.*?)^```", re.M | re.S)


def documented() -> dict[str, tuple[str, Any]]:
    """Text and example of each path of the API."""
    return {path: (text, json.loads(example)) for path, text, example in SECTION.findall(DOCUMENT.read_text())}


def sources() -> Sources:
    archive = SceneArchive(catalogue=MemorySceneCatalogue(), store=MemoryPayloadStore())
    viewer, log = SceneViewer(archive), MemoryRunLog()
    return Sources(catalogue=archive.catalogue, viewer=viewer, run_log=log, data=Path("none"), now_ns=lambda: 0)


def api_routes() -> list[APIRoute]:
    return [route for route in make_api(sources()).routes if isinstance(route, APIRoute)]


def test_every_path_is_documented() -> None:
    paths = {route.path for route in api_routes()}
    assert len(paths) == 8
    assert documented().keys() == paths


def test_every_page_is_documented() -> None:
    def path_of(route: BaseRoute) -> str | None:
        return route.path if isinstance(route, Route | Mount) else None

    served = {path_of(route) for route in make_app(sources(), Address()).routes} - {None}
    pages = set(re.findall(r"^\| `(/\S*)` \|", DOCUMENT.read_text(), re.M))
    assert pages == {path for path in served if not str(path).startswith("/api/")}


@pytest.mark.parametrize("route", api_routes(), ids=lambda route: route.path)
def test_every_parameter_is_documented(route: APIRoute) -> None:
    assert route.methods == {"GET"}
    text = documented()[route.path][0]
    for parameter in route.dependant.query_params:
        assert f"`{parameter.name}`" in text


@pytest.mark.parametrize("path", sorted(documented()))
def test_answers_have_the_documented_form(client: Client, path: str) -> None:
    of_car_1 = client.get("/api/v1/scenes?offset=1&limit=1").json()["scenes"][0]["scene_id"]
    answer = client.get(path.format(scene_id=of_car_1, run_id="run-0"))
    assert answer.status_code == 200
    assert form(answer.json()) == form(documented()[path][1])


def form(value: Any) -> Any:
    """Names of all fields; of a list only whether its first entry is a record."""
    if isinstance(value, dict):
        return {key: form(part) for key, part in value.items()}
    if isinstance(value, list):
        return [form(value[0])] if value and isinstance(value[0], dict) else []
    return "value"
