"""Runs and their curves."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from server.dashboard.run_view import describe_evaluations, describe_run, describe_runs, describe_scalars
from server.repositories.memory_run_log import MemoryRunLog
from server.repositories.run_log import EvaluationRecord
from tests.dashboard_data import Client
from tests.run_records import RUN_FILE, make_run


@pytest.fixture
def log() -> MemoryRunLog:
    """One run."""
    made = MemoryRunLog()
    made.create(make_run())
    return made


def test_a_run_whose_process_is_silent() -> None:
    run = make_run(heartbeat_ns=10**9)
    assert describe_run(run, now_ns=61 * 10**9)["state"] == "running"
    assert describe_run(run, now_ns=62 * 10**9)["state"] == "stopped?"


def test_newest_run_first(log: MemoryRunLog) -> None:
    log.create(make_run("run-2"))
    assert [run["run_id"] for run in describe_runs(log, 0)["runs"]] == ["run-2", "run-1"]


def test_scalars_after_a_step_with_gaps_where_there_is_no_number(log: MemoryRunLog) -> None:
    for step, value in enumerate((1.0, 2.0, math.nan, math.inf, 5.0)):
        log.add_scalars("run-1", step, {"loss/total": value}, at_ns=0)
    log.add_scalars("run-1", 4, {"lr": 0.1}, at_ns=0)
    assert describe_scalars(log, "run-1", None, 0, 1000)["curves"] == {
        "loss/total": {"steps": [1, 2, 3, 4], "values": [2.0, None, None, 5.0]},
        "lr": {"steps": [4], "values": [0.1]},
    }
    assert list(describe_scalars(log, "run-1", ["lr"], -1, 1000)["curves"]) == ["lr"]


REPORTS: list[tuple[dict[str, Any], dict[str, float | None]]] = [
    (
        {"ap_r40": {"car": {"3d": [3.0, 2.0, None]}}, "frames": 7, "warnings": ["few"]},
        {
            "ap_r40/car/3d/easy": 3.0,
            "ap_r40/car/3d/moderate": 2.0,
            "ap_r40/car/3d/hard": None,
            "frames": 7,
        },
    ),
    (
        {"difficulties": ["near", "far"], "ap": {"van": [1, 2]}, "min_iou": {"van": 0.5}},
        {"ap/van/near": 1, "ap/van/far": 2},
    ),
    (
        {"vehicle": {"LEVEL_1": {"ap": 61.5, "aph": math.nan}}},
        {"vehicle/LEVEL_1/ap": 61.5, "vehicle/LEVEL_1/aph": None},
    ),
    ({"curve": list(range(40)), "distance": [{"ap": 1}, {"ap": 2}, {"ap": 3}], "is_quick": True}, {}),
]


@pytest.mark.parametrize(("report", "expected"), REPORTS)
def test_numbers_of_reports_become_curves(
    log: MemoryRunLog, report: dict[str, Any], expected: dict[str, float | None]
) -> None:
    log.add_evaluation(EvaluationRecord(run_id="run-1", step=10, report=json.dumps(report), at_ns=0))
    curves = describe_evaluations(log, "run-1")["curves"]
    assert curves == {name: {"steps": [10], "values": [value]} for name, value in expected.items()}


def test_evaluations_in_order_with_the_last_report(client: Client) -> None:
    found = client.get("/api/v1/runs/run-1/evaluations").json()
    assert found["curves"]["ap_all/car/3d/moderate"] == {"steps": [20, 40], "values": [10.0, 20.0]}
    assert found["report"]["ap_all"]["car"]["3d"] == [40.0, 20.0, 10.0]
    assert found["steps"] == [20, 40]


def test_no_evaluation_yet(log: MemoryRunLog) -> None:
    assert describe_evaluations(log, "run-1") == {"run_id": "run-1", "curves": {}, "report": None, "steps": []}


def test_runs_over_the_api(client: Client) -> None:
    runs = client.get("/api/v1/runs").json()["runs"]
    assert [(run["run_id"], run["state"]) for run in runs] == [
        ("run-2", "stopped?"),
        ("run-1", "running"),
        ("run-0", "finished"),
    ]
    assert "run_file" not in runs[0]
    run = client.get("/api/v1/runs/run-0").json()
    assert (run["run_file"], run["step"], run["total_steps"]) == (RUN_FILE, 45, 100)


def test_only_new_points_are_sent(client: Client) -> None:
    curves = client.get("/api/v1/runs/run-0/scalars?after_step=35&name=lr").json()["curves"]
    assert {name: curve["steps"] for name, curve in curves.items()} == {"lr": [40, 45]}
    thinned = client.get("/api/v1/runs/run-0/scalars?max_points=2").json()["curves"]
    assert thinned["loss/total"]["steps"] == [0, 45]
