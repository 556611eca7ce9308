"""Two hundred `kill -9` and broken links during uploads: each scene is stored once, byte for byte.

The long version: python -m benchmarks.chaos --interruptions 10000 --points DIR_OF_REAL_SCANS
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from benchmarks.faults.inquest import hold_inquest
from benchmarks.faults.payloads import simulated_features, write_payloads
from benchmarks.faults.plan import Kind
from benchmarks.faults.storm import Storm, StormConfig, StormPaths


@pytest.fixture(scope="module")
def payloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated features, so that no data are needed."""
    folder = tmp_path_factory.mktemp("payloads")
    write_payloads(folder, simulated_features(40, seed=0), "int8", "SIMULATED features")
    return folder


@pytest.fixture(scope="module", params=[(1, 120), (4, 80)], ids=["1 under way", "4 under way"])
def storm(request: pytest.FixtureRequest, payloads: Path, tmp_path_factory: pytest.TempPathFactory) -> Storm:
    """A storm that is over: with one scene under way at a time, and with four."""
    in_flight, interruptions = request.param
    config = StormConfig(interruptions=interruptions, seed=6 + in_flight, in_flight=in_flight)
    storm = Storm(config, tmp_path_factory.mktemp("storm"), payloads)
    asyncio.run(storm.run())
    return storm


def test_each_scene_is_stored_once(storm: Storm, payloads: Path) -> None:
    verdict = hold_inquest(storm.paths, payloads, storm.config.in_flight)
    assert verdict.faults == [], f"seed {storm.config.seed}"
    assert storm.done.total() == storm.config.interruptions
    assert storm.done.keys() == set(Kind)  # each kind came
    assert verdict.scenes == verdict.stored == verdict.acknowledged > 10
    assert verdict.server_starts == 1 + storm.done[Kind.KILL_SERVER] + storm.done[Kind.KILL_BOTH]
    assert verdict.vehicle_starts == 1 + storm.done[Kind.KILL_VEHICLE] + storm.done[Kind.KILL_BOTH]
    # Only servers that were killed lost a chunk that they had: a cut link alone costs none.
    assert max(verdict.received_again, default=0) <= 1
    assert sum(verdict.received_again.values()) <= (verdict.server_starts - 1) * storm.config.in_flight


def test_the_inquest_sees_what_is_wrong(storm: Storm, payloads: Path, tmp_path: Path) -> None:
    shutil.copytree(storm.paths.folder, tmp_path / "copy")
    paths = StormPaths(folder=tmp_path / "copy")
    stored = sorted(path for path in (paths.data / "payloads").rglob("*") if path.is_file())
    stored[0].write_bytes(stored[0].read_bytes()[:-1] + b"?")
    stored[1].unlink()
    (paths.data / "payloads" / "left over").touch()
    with open(paths.vehicle_journal, "a") as journal:
        journal.write(f"1 ack {'0' * 64}\n")
    found = " ".join(hold_inquest(paths, payloads, 1).faults)
    assert "damaged" in found
    assert "is not in" in found
    assert "1 payloads that belong to no scene: left over" in found
    assert "1 acknowledged and missing: 000000000000" in found
