"""The JSON API, /api/v1/...; docs/dashboard.md describes each path with an example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from server.dashboard.fleet_view import describe_fleet, describe_scenes
from server.dashboard.follow_view import describe_following
from server.dashboard.run_view import describe_evaluations, describe_run, describe_runs, describe_scalars
from server.dashboard.scene_view import SceneViewer
from server.repositories.repository import SceneCatalogue
from server.repositories.run_log import RunLog

MAX_PAGE, MAX_POINTS = 200, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the dashboard shows. data: the server's data folder. now_ns: the time, nanoseconds since the epoch."""

    catalogue: SceneCatalogue
    viewer: SceneViewer
    run_log: RunLog
    data: Path
    now_ns: Callable[[], int]


def make_api(sources: Sources) -> APIRouter:
    """The routes over `sources`."""
    router = APIRouter(prefix="/api/v1")
    _add_scene_routes(router, sources)
    _add_run_routes(router, sources)
    return router


def _add_scene_routes(router: APIRouter, sources: Sources) -> None:
    @router.get("/fleet")
    def fleet() -> JSONResponse:
        return JSONResponse(describe_fleet(sources.catalogue))

    @router.get("/scenes")
    def scenes(
        vehicle: str | None = None,
        offset: Annotated[int, Query(ge=0, lt=2**62)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 25,
    ) -> JSONResponse:
        return JSONResponse(describe_scenes(sources.catalogue, vehicle, offset, limit))

    @router.get("/scenes/{scene_id}")
    def scene(scene_id: str) -> JSONResponse:
        return JSONResponse(sources.viewer.view(scene_id))


def _add_run_routes(router: APIRouter, sources: Sources) -> None:
    @router.get("/runs")
    def runs() -> JSONResponse:
        return JSONResponse(describe_runs(sources.run_log, sources.now_ns()))

    @router.get("/runs/{run_id}")
    def run(run_id: str) -> JSONResponse:
        record = sources.run_log.run(run_id)
        return JSONResponse({**describe_run(record, sources.now_ns()), "run_file": record.run_file})

    @router.get("/runs/{run_id}/scalars")
    def scalars(
        run_id: str,
        name: Annotated[list[str] | None, Query()] = None,
        after_step: Annotated[int, Query(ge=-1, lt=2**62)] = -1,
        max_points: Annotated[int, Query(ge=2, le=MAX_POINTS)] = 1000,
    ) -> JSONResponse:
        found = sources.run_log.run(run_id).run_id
        return JSONResponse(describe_scalars(sources.run_log, found, name, after_step, max_points))

    @router.get("/runs/{run_id}/evaluations")
    def evaluations(run_id: str) -> JSONResponse:
        return JSONResponse(describe_evaluations(sources.run_log, sources.run_log.run(run_id).run_id))

    @router.get("/runs/{run_id}/following")
    def following(run_id: str) -> JSONResponse:
        return JSONResponse(describe_following(sources.data, sources.run_log.run(run_id).run_id))
