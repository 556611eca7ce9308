"""Errors as JSON."""

from __future__ import annotations

import pytest

from server.dashboard import api
from tests.dashboard_data import Client


@pytest.mark.parametrize(
    ("path", "status", "error", "message"),
    [
        ("/api/v1/nothing", 404, "NotFoundError", "/api/v1/nothing"),
        ("/static/nothing.js", 404, "NotFoundError", "nothing.js"),
        ("/static/%2e%2e/app.py", 404, "NotFoundError", "app.py"),
        ("/api/v1/scenes/0123", 404, "NotFoundError", "no scene 0123"),
        ("/api/v1/scenes/zz", 400, "InvalidValueError", "hexadecimal"),
        ("/api/v1/scenes?vehicle=car-1", 404, "NotFoundError", "no vehicle has the tag 'car-1'"),
        ("/api/v1/scenes?limit=0", 400, "InvalidValueError", "limit"),
        ("/api/v1/scenes?limit=1000000", 400, "InvalidValueError", "limit"),
        ("/api/v1/scenes?offset=-1", 400, "InvalidValueError", "offset"),
        ("/api/v1/scenes?offset=99999999999999999999", 400, "InvalidValueError", "offset"),
        ("/api/v1/runs/unknown", 404, "NotFoundError", "no run 'unknown'"),
        ("/api/v1/runs/run", 404, "NotFoundError", "several runs"),
        ("/api/v1/runs/run-0/scalars?after_step=x", 400, "InvalidValueError", "after_step"),
        ("/api/v1/runs/run-0/scalars?max_points=1", 400, "InvalidValueError", "max_points"),
        ("/api/v1/runs/unknown/evaluations", 404, "NotFoundError", "no run 'unknown'"),
    ],
)
def test_status_and_message(client: Client, path: str, status: int, error: str, message: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert message in answer.json()["message"]
    assert set(answer.json()) == {"error", "message"}


def test_unforeseen_errors_say_nothing_of_the_inside(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(api, "describe_fleet", fail)
    answer = client.get("/api/v1/fleet")
    assert answer.status_code == 500
    assert answer.json()["error"] == "UpcycleError"
    assert "secret" not in answer.text
