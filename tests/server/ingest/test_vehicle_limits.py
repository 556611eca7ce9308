"""Quotas and half-sent bytes of one vehicle against a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from server.ingest.config import IngestConfig
from server.ingest.limits import LimitsConfig
from server.repositories.pseudonym import Pseudonyms
from tests.loopback import LoopbackServer, make_identity, make_scene
from tests.server.ingest.stream_driver import CHUNK, Stream, refusal


def serving(data: Path, pseudonyms: Pseudonyms | None = None, **limits: Any) -> LoopbackServer:
    return LoopbackServer(data, config=IngestConfig(limits=LimitsConfig(**limits)), pseudonyms=pseudonyms)


@pytest.mark.parametrize("limit", ["vehicle_stored_bytes", "vehicle_day_bytes"])
def test_a_quota_holds_over_a_restart(tmp_path: Path, limit: str) -> None:
    key = Pseudonyms(b"k" * 32)
    for is_restarted in (False, True):
        with serving(tmp_path, key, **{limit: 20_000}) as server:
            stream = Stream(server)
            for number in range(2):
                answer = stream.upload(make_scene(number))  # the second time stored already, which costs nothing
                assert answer.stored.was_already_stored is is_restarted
            answer = stream.begin(make_scene(2))
            assert refusal(answer) == ("REASON_TRY_LATER", True)
            assert 0 < answer.refused.retry_after_ms <= 3_600_000
            other = Stream(server, make_identity("car-2"))
            number = 10 + is_restarted
            assert other.upload(make_scene(number, vehicle="car-2")).WhichOneof("answer") == "stored"


def test_open_scenes_count_against_the_quota(tmp_path: Path) -> None:
    with serving(tmp_path, vehicle_stored_bytes=25_000) as server:
        stream = Stream(server)
        for number in range(2):
            assert stream.begin(make_scene(number)).WhichOneof("answer") == "send_from"
        assert refusal(stream.begin(make_scene(2))) == ("REASON_TRY_LATER", True)


def test_a_vehicle_loses_its_own_oldest_half_sent_payloads(tmp_path: Path) -> None:
    with serving(tmp_path, vehicle_half_sent_bytes=10_000 + CHUNK) as server:
        for number, vehicle in ((0, "car-1"), (1, "car-1"), (2, "car-2")):
            stream, scene = Stream(server, make_identity(vehicle)), make_scene(number, vehicle=vehicle)
            assert stream.begin(scene).send_from.offset == 0
            stream.send(chunk=stream.chunks(scene)[0])
            stream.end()
        stream = Stream(server)
        assert stream.begin(make_scene(3)).send_from.offset == 0
        kept = {path.name for path in (tmp_path / "partial").iterdir()}
        foreign = make_scene(2, vehicle="car-2")
        assert kept == {each.manifest.scene_id for each in (make_scene(1), make_scene(3), foreign)}
        assert refusal(stream.begin(make_scene(1))) == ("REASON_TRY_LATER", True)  # both would be too much
        assert Stream(server, make_identity("car-2")).begin(foreign).send_from.offset == CHUNK


def test_what_need_not_be_sent_does_not_count_against_the_rate(tmp_path: Path) -> None:
    with serving(tmp_path, vehicle_bytes_s=0.001, vehicle_burst_bytes=16_000) as server:
        stream, scene = Stream(server), make_scene()
        stream.begin(scene)
        stream.send(chunk=stream.chunks(scene)[0])
        stream.end()
        again = Stream(server)
        assert refusal(again.begin(scene))[0] == "REASON_TRY_LATER"  # 6,000 left, and all 10,000 might be needed
    with serving(tmp_path, vehicle_bytes_s=0.001, vehicle_burst_bytes=16_000) as server:
        again = Stream(server)
        assert again.begin(scene).send_from.offset == CHUNK
        for chunk in again.chunks(scene, CHUNK):
            again.send(chunk=chunk)
        assert again.finish(scene).WhichOneof("answer") == "stored"
        assert again.begin(make_scene(1)).WhichOneof("answer") == "send_from"  # 16,000 - 5,904 = 10,096 were left
