"""The dashboard as an ASGI application: pages, their files, and the API."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles

from server.dashboard.address import Address
from server.dashboard.api import Sources, make_api
from server.dashboard.errors import handle_errors
from server.dashboard.guard import Guard

STATIC = Path(__file__).resolve().parent / "static"
PAGES = {
    "/": "index.html",
    "/scene": "scene.html",
    "/runs": "runs.html",
    "/run": "run.html",
    "/compare": "compare.html",
}


def make_app(sources: Sources, address: Address) -> FastAPI:
    """The application over `sources`, for browsers that reach it at `address`."""
    # FastAPI's own pages of documentation load scripts from elsewhere; docs/dashboard.md is the documentation.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, middleware=[Middleware(Guard, address=address)])
    handle_errors(app)
    app.include_router(make_api(sources))
    for path, file in PAGES.items():
        _add_page(app, path, STATIC / file)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def _add_page(app: FastAPI, path: str, file: Path) -> None:
    @app.get(path, include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(file, media_type="text/html; charset=utf-8")
