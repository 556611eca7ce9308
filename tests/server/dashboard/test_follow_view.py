"""Rounds and quarantine over the API; tests/dashboard_data.py writes them."""

from __future__ import annotations

from tests.dashboard_data import Client


def test_rounds_and_quarantine_of_a_run_that_follows_its_store(client: Client) -> None:
    found = client.get("/api/v1/runs/run-0/following").json()
    assert [(each["number"], each["is_published"], each["checkpoint"]) for each in found["rounds"]] == [
        (0, True, "step-00000000"),
        (1, False, "step-00000020"),
    ]
    assert found["rounds"][1]["scores"] == [{"name": "Car", "value": 51.5}]
    assert found["scenes"] == [
        {"state": "admitted", "count": 1},
        {"state": "quarantined", "count": 2},
        {"state": "removed", "count": 1},
    ]
    assert [each["scene_id"][:2] for each in found["quarantine"]] == ["cc", "bb"]  # the last one first
    assert found["quarantine"][0]["reasons"][0]["statistic"] == "features/zeros"


def test_other_runs_have_none(client: Client) -> None:
    found = client.get("/api/v1/runs/run-1/following").json()
    assert found == {"run_id": "run-1", "rounds": [], "scenes": [], "quarantine": []}
    assert client.get("/api/v1/runs/nothing/following").status_code == 404
