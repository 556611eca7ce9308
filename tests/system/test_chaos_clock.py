"""The server's clock jumps a day forward and back: nothing is lost, and half-sent payloads go only when it says so."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from benchmarks.faults.inquest import hold_inquest
from benchmarks.faults.payloads import simulated_features, write_payloads
from benchmarks.faults.storm import Storm, StormConfig
from server.ingest.intake import Intake
from server.ingest.open_scene import OpenScene
from server.repositories.archive import open_archive
from server.repositories.repository import StoredScene
from tests.loopback import accept_any_payload, make_policy, make_scene

DAY_S = 86_400.0


class Clock:
    """Files have the machine's own times, so this one is the machine's, put forward or back."""

    def __init__(self) -> None:
        self._started_ns, self.ahead_s = time.time_ns(), 0.0

    def now_ns(self) -> int:
        return self._started_ns + int(self.ahead_s * 1e9)


async def _half_sent(intake: Intake, number: int) -> None:
    scene = await _begun(intake, number)
    await intake.add_chunk(scene, 0, make_scene(number).payload[:4000])
    await intake.release(scene)


async def _begun(intake: Intake, number: int) -> OpenScene:
    found = await intake.begin(make_scene(number).manifest)
    assert isinstance(found, OpenScene)
    return found


async def _sent(intake: Intake, number: int) -> tuple[int, StoredScene]:
    """Send a scene to its end; from which offset on."""
    scene, payload = await _begun(intake, number), make_scene(number).payload
    offset = scene.held().size
    await intake.add_chunk(scene, offset, payload[offset:])
    return offset, await intake.finish(scene)


@pytest.mark.parametrize(("ahead_s", "offset"), [(0.0, 4000), (-DAY_S, 4000), (DAY_S / 2, 4000), (DAY_S + 10, 0)])
def test_half_sent_payloads_expire_by_the_servers_clock(ahead_s: float, offset: int, tmp_path: Path) -> None:
    async def run() -> None:
        archive, clock = open_archive(tmp_path / "data", is_new_allowed=True), Clock()
        intake = Intake(
            make_policy(), archive.store, archive.catalogue, check_payload=accept_any_payload, clock_ns=clock.now_ns
        )
        await _half_sent(intake, 0)
        opened = await _begun(intake, 1)
        await intake.add_chunk(opened, 0, make_scene(1).payload[:4000])
        clock.ahead_s = ahead_s
        assert await intake.sweep() == (offset == 0)
        begun_at, stored = await _sent(intake, 0)
        assert begun_at == offset
        assert stored.stored_at_ns == clock.now_ns()
        # What is being sent while the clock jumps is not dropped under the vehicle's hands.
        await intake.add_chunk(opened, 4000, make_scene(1).payload[4000:])
        await intake.finish(opened)
        clock.ahead_s = -ahead_s
        assert isinstance(await intake.begin(make_scene(0).manifest), StoredScene)
        listed = list(archive.catalogue.scenes())
        assert [archive.encoded(each).payload for each in listed] == [make_scene(0).payload, make_scene(1).payload]
        intake.close()
        archive.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("ahead_s", "is_placed", "is_kept"), [(0.0, False, True), (2 * DAY_S, False, False), (2 * DAY_S, True, True)]
)
def test_a_whole_scene_that_a_killed_server_had(ahead_s: float, is_placed: bool, is_kept: bool, tmp_path: Path) -> None:
    # As after `kill -9` between the last chunk and the catalogue's row: the payload has come in full, and lies
    # half-sent, which ends with its time, or under its hash, which no clock ends.
    async def run() -> None:
        archive, clock = open_archive(tmp_path / "data", is_new_allowed=True), Clock()
        scene = make_scene(0)
        partial = archive.store.open_partial(scene.manifest.scene_id)
        partial.append(scene.payload)
        if is_placed:
            partial.commit()
        partial.close()
        clock.ahead_s = ahead_s
        intake = Intake(
            make_policy(), archive.store, archive.catalogue, check_payload=accept_any_payload, clock_ns=clock.now_ns
        )
        assert await intake.sweep() == (not is_kept)
        begun = await _begun(intake, 0)
        assert begun.held().size == begun.found_bytes == (len(scene.payload) if is_kept else 0)
        if not is_kept:
            await intake.add_chunk(begun, 0, scene.payload)
        await intake.finish(begun)
        assert [archive.encoded(each).payload for each in archive.catalogue.scenes()] == [scene.payload]
        intake.close()
        archive.close()

    asyncio.run(run())


def test_restarts_with_wrong_clocks(tmp_path: Path) -> None:
    payloads = tmp_path / "payloads"
    write_payloads(payloads, simulated_features(20, seed=0), "int8", "SIMULATED features")
    config = StormConfig(
        interruptions=40,
        seed=3,
        in_flight=2,
        clock_jumps_s=(0.0, -DAY_S, 2 * DAY_S),
        config=(("partial_check_s", 0.1),),
    )
    storm = Storm(config, tmp_path / "run", payloads)
    asyncio.run(storm.run())
    assert hold_inquest(storm.paths, payloads, 2).faults == []
    archive = open_archive(storm.paths.data)
    try:
        days = {each.stored_at_ns // int(DAY_S * 1e9) for each in archive.catalogue.scenes()}
    finally:
        archive.close()
    assert len(days) >= 2  # clocks did differ
