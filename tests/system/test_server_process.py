"""The server as a process: it starts, is killed without warning, starts again, and has all that it acknowledged."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import torch

from protos import convert
from protos.v1 import ingest_pb2, ingest_pb2_grpc
from server.repositories.archive import open_archive
from shared_models import codecs
from shared_models.errors import StorageError
from shared_models.records import EncodedScene, GridFeatures, SceneFeatures
from tests.loopback import BACKBONE, make_identity, make_scene
from vehicle_client.outbox import Outbox
from vehicle_client.upload_stream import NoLimit
from vehicle_client.uploader import Uploader, UploaderConfig

SCENES = 60
CHUNK_BYTES = 256 << 10


def real_scene(number: int, count: int = 300) -> EncodedScene:
    """A scene with a payload that a real codec made of `count` cells."""
    generator = torch.Generator().manual_seed(number)
    cells = torch.randperm(50 * 44, generator=generator)[:count].sort().values
    coords = torch.stack([torch.zeros_like(cells), cells // 44, cells % 44], dim=1).int()
    grid = GridFeatures(coords=coords, features=torch.randn(count, 64, generator=generator), shape=(2, 50, 44))
    features = SceneFeatures(grid=grid, split_layer="conv_out", backbone_hash=BACKBONE)
    payload = codecs.encode(features, "float32")
    manifest = replace(
        make_scene(number, codec="float32").manifest,
        payload_sha256=hashlib.sha256(payload).hexdigest(),
        payload_bytes=len(payload),
    )
    return EncodedScene(manifest=manifest, payload=payload)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "upcycle", "server", *arguments]


@contextmanager
def serving(
    repository: Path, data: Path, port: int = 0, more: tuple[str, ...] = (), log: Path = Path(os.devnull)
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    arguments = ["serve", "--data", str(data), "--port", str(port), "--backbone-hash", BACKBONE, *more]
    with open(log, "a", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command(*arguments), cwd=repository, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on 127.0.0.1:"), line
        try:
            yield process, int(line.rpartition(":")[2])
        finally:
            process.kill()


def listed(repository: Path, data: Path, *arguments: str) -> list[dict[str, object]]:
    done = subprocess.run(
        command(*arguments, "--data", str(data), "--json"),
        cwd=repository, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_kill_9_loses_nothing_that_was_acknowledged(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    scenes = [real_scene(number) for number in range(SCENES)]
    identity = make_identity(codecs=("float32",))
    port = 0
    with Outbox(tmp_path / "spool") as outbox:
        for scene in scenes:
            outbox.put(scene)
        with serving(repository, data, port) as (process, port):
            uploader = Uploader(f"127.0.0.1:{port}", identity, UploaderConfig(first_delay_s=0.01, max_delay_s=0.1))
            acknowledged: list[str] = []
            mark_delivered = outbox.mark_delivered

            def mark_and_kill(scene_id: str) -> bool:
                acknowledged.append(scene_id)
                if len(acknowledged) == SCENES // 3:
                    os.kill(process.pid, signal.SIGKILL)
                return mark_delivered(scene_id)

            monkeypatch.setattr(outbox, "mark_delivered", mark_and_kill)
            with uploader.in_background(outbox) as background:
                process.wait(60)
                stored_then = {row["scene_id"] for row in listed(repository, data, "ls")}
                assert SCENES // 3 <= len(acknowledged) < SCENES
                assert set(acknowledged) <= stored_then
                with serving(repository, data, port):
                    report = background.finish()
        assert report.refusals == ()
        assert outbox.counts().pending == 0
    rows = listed(repository, data, "ls")
    assert sorted(str(row["scene_id"]) for row in rows) == sorted(scene.manifest.scene_id for scene in scenes)


def test_listing_showing_and_stopping(tmp_path: Path, repository: Path) -> None:
    data, scene = tmp_path / "data", real_scene(0)
    with serving(repository, data) as (process, port):
        with Outbox(tmp_path / "spool") as outbox:
            outbox.put(scene)
            Uploader(f"127.0.0.1:{port}", make_identity(codecs=("float32",))).run(outbox)
        (row,) = listed(repository, data, "ls")  # while the server runs
        assert row["scene_id"] == scene.manifest.scene_id
        assert "car-1" not in json.dumps(row)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    (shown,) = listed(repository, data, "show", scene.manifest.scene_id[:8])
    assert shown["header"]["codec"] == "float32"  # type: ignore[index]
    assert shown["features"]["active cells"] == 300  # type: ignore[index]


def stored_ids(data: Path) -> list[str]:
    archive = open_archive(data)
    try:
        return sorted(stored.scene_id for stored in archive.catalogue.scenes())
    finally:
        archive.close()


class SignallingGate(NoLimit):
    """Lets everything pass, and sends SIGTERM when the n-th chunk is asked for."""

    def __init__(self, process: subprocess.Popen[str], chunks: int) -> None:
        self._process, self._left = process, chunks

    def ask(self, size: int) -> None:
        self._left -= 1
        if self._left == 0:
            self._process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("grace_s", [10.0, 0.0])
def test_a_restart_during_an_upload_loses_nothing(tmp_path: Path, repository: Path, grace_s: float) -> None:
    data, settings = tmp_path / "data", tmp_path / "serve.toml"
    settings.write_text(f"shutdown_grace_s = {grace_s}\n")
    scenes = [real_scene(number, count=2000) for number in range(20)]
    payload_bytes = sum(scene.manifest.payload_bytes for scene in scenes)
    assert payload_bytes > 20 * CHUNK_BYTES  # more than one chunk each
    with Outbox(tmp_path / "spool") as outbox:
        for scene in scenes:
            outbox.put(scene)
        with serving(repository, data, more=("--config", str(settings))) as (process, port):
            config = UploaderConfig(first_delay_s=0.01, max_delay_s=0.1)
            gate = SignallingGate(process, chunks=20)
            uploader = Uploader(f"127.0.0.1:{port}", make_identity(codecs=("float32",)), config, gate=gate)
            with uploader.in_background(outbox) as background:
                assert process.wait(30) == 0
                assert 0 < len(stored_ids(data)) < len(scenes)
                with serving(repository, data, port):
                    report = background.finish()
    assert report.refusals == ()
    assert stored_ids(data) == sorted(scene.manifest.scene_id for scene in scenes)
    if grace_s:
        assert report.payload_bytes - payload_bytes <= config.max_in_flight * CHUNK_BYTES


def test_a_second_signal_does_not_wait(tmp_path: Path, repository: Path) -> None:
    settings, scene = tmp_path / "serve.toml", real_scene(0)
    settings.write_text("shutdown_grace_s = 600\n")
    with serving(repository, tmp_path / "data", more=("--config", str(settings))) as (process, port):
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        with channel:
            outgoing: queue.SimpleQueue[ingest_pb2.UploadRequest] = queue.SimpleQueue()
            call = ingest_pb2_grpc.IngestStub(channel).Upload(iter(outgoing.get, None), timeout=60)
            hello = convert.hello_to_message(make_identity(codecs=("float32",)))
            outgoing.put(ingest_pb2.UploadRequest(hello=hello))
            outgoing.put(ingest_pb2.UploadRequest(begin=convert.begin_to_message(scene.manifest)))
            next(call)
            next(call)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)  # a scene is open
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            call.cancel()


def test_metrics_and_json_log(tmp_path: Path, repository: Path) -> None:
    log, more = tmp_path / "log", ("--metrics-port", "0", "--log-format", "json")
    with serving(repository, tmp_path / "data", more=more, log=log) as (process, port):
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("metrics on 127.0.0.1:")
        with Outbox(tmp_path / "spool") as outbox:
            outbox.put(real_scene(0))
            Uploader(f"127.0.0.1:{port}", make_identity(codecs=("float32",))).run(outbox)
        with urllib.request.urlopen(f"http://{line.split()[-1]}/metrics", timeout=20) as response:
            text = response.read().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert "upcycle_scenes_stored_total 1.0" in text
    assert "car-1" not in text
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    (stored,) = [line for line in lines if line["message"] == "scene stored"]
    assert (stored["bytes"], stored["level"], stored["logger"]) == (
        real_scene(0).manifest.payload_bytes, "INFO", "server.ingest.intake"
    )  # fmt: skip
    assert "car-1" not in log.read_text(encoding="utf-8")


def test_one_server_per_folder(tmp_path: Path) -> None:
    from server.repositories.archive import sole_writer

    with (
        sole_writer(tmp_path / "data"),
        pytest.raises(StorageError, match="another server is running"),
        sole_writer(tmp_path / "data"),
    ):
        pass
