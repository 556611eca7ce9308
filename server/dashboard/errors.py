"""Every error becomes the same JSON, {"error": its class, "message": what people read}, with its own HTTP status."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from protos.status import status_of
from shared_models.errors import InvalidValueError, NotFoundError, UpcycleError

logger = logging.getLogger(__name__)


def handle_errors(app: FastAPI) -> None:
    """Let `app` answer with the project's errors only."""
    app.add_exception_handler(UpcycleError, _of_the_project)
    app.add_exception_handler(RequestValidationError, _of_parameters)
    app.add_exception_handler(HTTPException, _of_routing)
    app.add_exception_handler(Exception, _unforeseen)


def _answer(error: UpcycleError) -> JSONResponse:
    return JSONResponse({"error": type(error).__name__, "message": str(error)}, status_of(error).http)


async def _of_the_project(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, UpcycleError)
    logger.info("refused", extra={"path": request.url.path, "error": type(error).__name__})
    return _answer(error)


async def _of_parameters(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    wrong = error.errors()[0]
    name = wrong["loc"][-1] if wrong["loc"] else "request"
    return _answer(InvalidValueError(f"{name}: {wrong['msg']}, got {str(wrong.get('input'))[:80]!r}"))


async def _of_routing(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return _answer(NotFoundError(f"no page {request.url.path}; docs/dashboard.md lists them"))
    return JSONResponse({"error": "HTTPException", "message": str(error.detail)}, error.status_code)


async def _unforeseen(_: Request, error: Exception) -> JSONResponse:
    logger.error("unforeseen error", exc_info=error)
    return _answer(UpcycleError("something unforeseen went wrong in the dashboard; its log says what"))
