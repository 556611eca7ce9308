"""Full disks: nothing that was acknowledged is lost, and everything goes on once there is room again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.faults.full_disk import SmallDisk, small_disk
from server.repositories.archive import open_archive
from shared_models.errors import OperatorError, StorageFullError
from shared_models.records import EncodedScene
from tests.loopback import LoopbackServer, make_identity, make_scene
from vehicle_client.outbox import Outbox
from vehicle_client.uploader import BackgroundUpload, Uploader, UploaderConfig

SCENES, SCENE_BYTES = 60, 50_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """One of 1.5 MB."""
    with ExitStack() as stack:
        try:
            mounted = stack.enter_context(small_disk(tmp_path / "disk", 1_500_000))
        except OperatorError as error:
            pytest.skip(f"needs the right to mount a tmpfs: {error}")
        yield mounted


def test_full_server(disk: SmallDisk, tmp_path: Path) -> None:
    is_full, waits_s = threading.Event(), list[float]()

    def wait(stop: threading.Event, delay_s: float) -> None:
        waits_s.append(delay_s)
        if delay_s >= 20.0:  # what the server asks for when it has no space; other troubles pass sooner
            is_full.set()
        stop.wait(min(delay_s, 0.05))

    data, scenes = disk.folder / "data", [make_scene(number, SCENE_BYTES) for number in range(SCENES)]
    with LoopbackServer(data) as server, Outbox(tmp_path / "spool") as outbox:
        for scene in scenes:
            outbox.put(scene)
        uploader = Uploader(server.target, make_identity(), UploaderConfig(max_delay_s=1.0), wait=wait)
        with uploader.in_background(outbox) as background:
            assert is_full.wait(60), f"the server never said that its disk is full; waits: {waits_s}"
            before = {each.scene_id for each in server.archive.catalogue.scenes()}
            assert 5 < len(before) < SCENES
            disk.resize(30_000_000)
            report = background.finish()
        assert report.refusals == ()
        counts = outbox.counts()
        assert (counts.pending, counts.delivered, counts.dead) == (0, SCENES, 0)
    archive = open_archive(data)
    try:
        stored = {each.scene_id: archive.encoded(each).payload for each in archive.catalogue.scenes()}
    finally:
        archive.close()
    assert stored == {scene.manifest.scene_id: scene.payload for scene in scenes}
    assert list((data / "partial").iterdir()) == []


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("who_makes_room", ["operator", "sending"])
def test_full_vehicle(who_makes_room: str, is_restarted: bool, disk: SmallDisk, tmp_path: Path) -> None:
    scenes = [make_scene(number, SCENE_BYTES) for number in range(SCENES)]
    with ExitStack() as stack:
        server = stack.enter_context(LoopbackServer(tmp_path / "data"))
        spool = stack.enter_context(ExitStack())
        outbox = spool.enter_context(Outbox(disk.folder / "spool"))
        count = _put_until_full(outbox, scenes)
        assert 4 < count < SCENES
        if is_restarted:
            spool.close()
            outbox = spool.enter_context(Outbox(disk.folder / "spool"))
        assert outbox.counts().pending == count
        assert [outbox.load(scene.manifest.scene_id) for scene in scenes[:count]] == scenes[:count]
        if who_makes_room == "operator":
            disk.resize(30_000_000)
        with Uploader(server.target, make_identity()).in_background(outbox) as background:
            for scene in scenes[count:]:
                _put_when_there_is_room(outbox, scene, background)
            background.finish()
        assert outbox.counts().delivered == SCENES
        stored = {server.archive.encoded(each).payload for each in server.archive.catalogue.scenes()}
    assert stored == {scene.payload for scene in scenes}


def _put_until_full(outbox: Outbox, scenes: list[EncodedScene]) -> int:
    """How many found room."""
    for number, scene in enumerate(scenes):
        try:
            outbox.put(scene)
        except StorageFullError:
            return number
    return len(scenes)


def _put_when_there_is_room(outbox: Outbox, scene: EncodedScene, background: BackgroundUpload) -> None:
    has_room = threading.Event()
    for _ in range(6000):  # sending makes room: a minute at most
        try:
            outbox.put(scene)
        except StorageFullError:
            background.check()
            has_room.wait(0.01)
        else:
            return
    raise AssertionError("sending never made room")
