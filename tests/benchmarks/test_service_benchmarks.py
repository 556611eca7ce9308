"""The benchmarks of the service run to their end on small sizes; their times are not judged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks import fleet, fuzz, ingest


@pytest.fixture(autouse=True)
def _same_threads_afterwards() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(module: Any, report: Path, *arguments: object) -> dict[str, Any]:
    app = typer.Typer()
    app.command()(module.main)
    result = CliRunner().invoke(app, [*map(str, arguments), "--json", str(report)])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def test_fuzz(tmp_path: Path) -> None:
    """Fifteen hundred spoiled messages, and no finding: the short form of a million."""
    found = run(fuzz, tmp_path / "new" / "fuzz.json", "--messages", 1500, "--seed", 2, "--streams", 4)
    assert found["messages"] >= 1500
    assert found["complaints"] == {}
    assert found["server_exit_status"] is None
    assert found["statuses"]["OK"] > 10
    assert found["statuses"]["INVALID_ARGUMENT REASON_PROTOCOL"] > 10
    assert found["refusals"].keys() > {"REASON_PROTOCOL", "REASON_INTEGRITY", "REASON_PAYLOAD"}


def test_fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "WARM_S", 1.0)
    monkeypatch.setattr(fleet, "SETTLE_S", 0.1)
    found = run(
        fleet, tmp_path / "fleet.json", "--vehicles", 3, "--seconds", 2, "--scene-bytes", 5000, "--reconnects", 8
    )
    (driven,) = found["runs"]
    assert (driven["vehicles"], driven["failures"]) == (3, 0)
    assert driven["scenes"] == 6
    assert 0 < driven["ack_p50_ms"] <= driven["ack_p99_ms"] <= driven["ack_max_ms"]
    assert driven["server"]["memory_peak_bytes"] > 1 << 20
    assert found["reconnects"]["connections"] == 8
    assert len(found["reconnects"]["memory_bytes"]) == 4


def test_the_search_closes_in_on_what_is_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    async def drive(server: Any, pool: Any, vehicles: int, seconds: float, seed: int) -> dict[str, Any]:
        tried.append(vehicles)
        return {"vehicles": vehicles, "failures": 0, "ack_p99_ms": 100.0 if vehicles <= 130 else 900.0}

    monkeypatch.setattr(fleet, "drive", drive)
    server: Any = None
    runs = asyncio.run(fleet.search(server, server, 200, 1.0, 0))
    carried = max(found["vehicles"] for found in runs if fleet.is_carried(found))
    assert 120 < carried <= 130
    assert len(tried) < 8
    assert [found["vehicles"] for found in asyncio.run(fleet.search(server, server, 100, 1.0, 0))] == [100]


def test_ingest(tmp_path: Path) -> None:
    found = run(ingest, tmp_path / "ingest.json", "--scenes", 6, "--rounds", 1, "--scene-bytes", 20_000)
    assert found["mb_per_s"].keys() == {"bare", "fsync", "durable"}
    rates = {way: numbers["median"] for way, numbers in found["mb_per_s"].items()}
    assert found["ratio_to_slower"]["median"] == pytest.approx(rates["durable"] / min(rates["bare"], rates["fsync"]))
    assert found["scenes_per_s"] * found["scene_bytes"] / 1e6 == pytest.approx(rates["durable"])
    assert 0 < found["ack_p50_ms"] <= found["ack_p99_ms"]
