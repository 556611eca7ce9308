"""What the catalogue and the log call a vehicle whose scenes are stored under pseudonyms."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from protos.v1 import ingest_pb2
from server.repositories.archive import open_archive
from server.repositories.pseudonym import Pseudonyms, vehicle_tag
from tests.loopback import LoopbackServer, make_identity, make_scene
from tests.server.ingest.stream_driver import Stream

PSEUDONYMS = Pseudonyms(b"k" * 32)
STORED = ingest_pb2.SceneStatus.STATE_STORED
UNKNOWN = ingest_pb2.SceneStatus.STATE_UNKNOWN


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LoopbackServer]:
    with LoopbackServer(tmp_path / "data", pseudonyms=PSEUDONYMS) as running:
        yield running


def state_of(server: LoopbackServer, vehicle: str, scene_id: str) -> int:
    request = ingest_pb2.SceneStatusRequest(vehicle_id=vehicle, scene_ids=[bytes.fromhex(scene_id)])
    return server.ingest().SceneStatus(request).scenes[0].state


def test_the_plain_name_is_nowhere(server: LoopbackServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = make_scene(vehicle="car-of-my-neighbour", size=5000)
    with caplog.at_level(logging.DEBUG):
        Stream(server, make_identity("car-of-my-neighbour")).upload(scene)
    (stored,) = server.archive.catalogue.scenes()
    assert stored.scene_id == scene.manifest.scene_id
    assert PSEUDONYMS.is_of(stored.manifest.vehicle_id, "car-of-my-neighbour", stored.stored_at_ns)
    assert server.archive.encoded(stored).payload == scene.payload
    (summary,) = server.archive.catalogue.vehicles()
    tag = vehicle_tag(summary.vehicle_id)
    assert tag in {getattr(record, "vehicle", None) for record in caplog.records}
    server.stop()
    written = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert tag.encode() in written
    assert b"my-neighbour" not in written
    assert "my-neighbour" not in caplog.text


def test_sending_again_and_asking_work_as_with_plain_names(server: LoopbackServer) -> None:
    scene = make_scene()
    stream = Stream(server)
    assert not stream.upload(scene).stored.was_already_stored
    assert stream.upload(scene).stored.was_already_stored
    assert state_of(server, "car-1", scene.manifest.scene_id) == STORED
    assert state_of(server, "car-2", scene.manifest.scene_id) == UNKNOWN
    assert server.archive.catalogue.counts().scenes == 1


def test_scenes_that_were_stored_under_plain_names_stay_known(tmp_path: Path) -> None:
    scene = make_scene()
    archive = open_archive(tmp_path / "data", is_new_allowed=True)
    archive.add(scene, stored_at_ns=1)
    archive.close()
    with LoopbackServer(tmp_path / "data", pseudonyms=PSEUDONYMS) as server:
        assert Stream(server).upload(scene).stored.was_already_stored
        assert state_of(server, "car-1", scene.manifest.scene_id) == STORED
        assert state_of(server, "car-2", scene.manifest.scene_id) == UNKNOWN


def test_a_resumed_scene_is_stored_once(server: LoopbackServer) -> None:
    scene = make_scene()
    stream = Stream(server)
    stream.begin(scene)
    for chunk in stream.chunks(scene)[:2]:
        stream.send(chunk=chunk)
    stream.end()
    stream = Stream(server)
    assert stream.begin(scene).send_from.offset == 8192
    for chunk in stream.chunks(scene, 8192):
        stream.send(chunk=chunk)
    assert stream.finish(scene).WhichOneof("answer") == "stored"
    assert server.archive.catalogue.get(scene.manifest.scene_id).manifest.payload_bytes == 10_000
