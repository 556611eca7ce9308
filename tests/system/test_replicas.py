"""Several servers over one PostgreSQL and one bucket: a vehicle goes on at any of them, nothing twice, nothing lost."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import torch
from typer.testing import CliRunner

from protos.v1 import ingest_pb2_grpc
from server.cli import app
from server.repositories.archive import SceneArchive, open_archive, open_run_log
from server.stores.s3 import S3PayloadStore, S3StoreConfig
from shared_models import codecs
from shared_models.errors import ConfigError
from shared_models.records import EncodedScene, GridFeatures, SceneFeatures
from tests.loopback import BACKBONE, LoopbackServer, fill, make_identity, make_scene
from tests.run_records import make_run
from tests.server.ingest.stream_driver import CHUNK, Stream, refusal
from tests.services import PostgresServer, S3Server
from tests.system.test_server_process import listed, serving
from vehicle_client.outbox import Outbox
from vehicle_client.upload_config import UploaderConfig
from vehicle_client.uploader import Uploader

SCENE = make_scene(size=40_000)
QUICK = UploaderConfig(first_delay_s=0.001, max_delay_s=0.01)


class Remote:
    """A server process, as `Stream` wants it."""

    def __init__(self, port: int) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])

    def ingest(self) -> ingest_pb2_grpc.IngestStub:
        return ingest_pb2_grpc.IngestStub(self._channel)

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *exception: object) -> None:
        self._channel.close()


def large_scene() -> EncodedScene:
    """A scene of three pieces, with a payload that a real codec made."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.arange(12_000)
    coords = torch.stack([torch.zeros_like(cells), cells // 200, cells % 200], dim=1).int()
    grid = GridFeatures(coords=coords, features=torch.randn(12_000, 64, generator=generator), shape=(1, 60, 200))
    features = SceneFeatures(grid=grid, split_layer="conv_out", backbone_hash=BACKBONE)
    payload = codecs.encode(features, "float32")
    assert 9 << 18 < len(payload) < 3 << 20
    sha256 = hashlib.sha256(payload).hexdigest()
    manifest = replace(make_scene(codec="float32").manifest, payload_sha256=sha256, payload_bytes=len(payload))
    return EncodedScene(manifest=manifest, payload=payload)


@pytest.fixture
def bucket(postgres: PostgresServer, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment says: an empty database and a new bucket, whose name this is."""
    name = s3.new_bucket()
    monkeypatch.setenv("UPCYCLE_CATALOGUE", postgres.empty_database())
    monkeypatch.setenv("UPCYCLE_PAYLOADS", f"s3://{name}")
    monkeypatch.setenv("UPCYCLE_S3_ENDPOINT", s3.endpoint)
    monkeypatch.setenv("UPCYCLE_PSEUDONYM_KEY", "07" * 32)
    return name


def with_small_pieces(archive: SceneArchive) -> SceneArchive:
    assert isinstance(archive.store, S3PayloadStore)
    small = S3PayloadStore(archive.store.bucket, archive.store.hold, S3StoreConfig(piece_bytes=2 * CHUNK))
    return replace(archive, store=small)


@pytest.fixture
def replicas(bucket: str, tmp_path: Path) -> Iterator[list[LoopbackServer]]:
    with ExitStack() as stack:
        folders = (tmp_path / "one", tmp_path / "other")
        yield [stack.enter_context(LoopbackServer(folder, change=with_small_pieces)) for folder in folders]


def send(stream: Stream, scene: EncodedScene, count: int, offset: int = 0) -> None:
    for chunk in stream.chunks(scene, offset)[:count]:
        stream.send(chunk=chunk)


def test_upload_that_ends_at_one_goes_on_at_the_other(
    replicas: list[LoopbackServer], s3: S3Server, bucket: str
) -> None:
    first = Stream(replicas[0])
    assert first.begin(SCENE).send_from.offset == 0
    send(first, SCENE, 5)
    assert first.end() == grpc.StatusCode.OK
    second = Stream(replicas[1])
    assert second.begin(SCENE).send_from.offset == 5 * CHUNK
    send(second, SCENE, 99, 5 * CHUNK)
    assert second.finish(SCENE).WhichOneof("answer") == "stored"
    assert Stream(replicas[0]).begin(SCENE).stored.was_already_stored
    assert replicas[0].archive.catalogue.counts().scenes == 1
    assert replicas[0].archive.store.read(SCENE.manifest.payload_sha256) == SCENE.payload
    assert s3.keys(bucket) == [f"payloads/{SCENE.manifest.payload_sha256}"]


def test_the_older_of_two_streams_ends_at_its_server(replicas: list[LoopbackServer]) -> None:
    older, newer = Stream(replicas[0]), Stream(replicas[1])
    assert older.begin(SCENE).send_from.offset == 0
    assert newer.begin(SCENE).send_from.offset == 0
    send(newer, SCENE, 2)
    send(newer, SCENE, 1, 2 * CHUNK)
    # Its chunks are read in order: once this is answered, the newer server has written its first piece.
    damaged = newer.chunks(SCENE, 3 * CHUNK)[0]
    damaged.crc32 ^= 1
    newer.send(chunk=damaged)
    assert refusal(newer.answer()) == ("REASON_INTEGRITY", True)
    send(older, SCENE, 2)
    assert refusal(older.answer()) == ("REASON_TRY_LATER", True)
    assert newer.begin(SCENE).send_from.offset == 3 * CHUNK
    send(newer, SCENE, 99, 3 * CHUNK)
    assert newer.finish(SCENE).WhichOneof("answer") == "stored"
    assert older.begin(SCENE).stored.was_already_stored


def test_one_scene_finished_at_both_at_once_is_stored_once(replicas: list[LoopbackServer]) -> None:
    scene = make_scene(1, size=CHUNK)  # no piece is written, so that neither learns of the other

    def upload(server: LoopbackServer) -> str | None:
        return Stream(server).upload(scene).WhichOneof("answer")

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(upload, replicas)) == ["stored", "stored"]
    assert replicas[0].archive.catalogue.counts().scenes == 1
    assert replicas[1].archive.store.read(scene.manifest.payload_sha256) == scene.payload


def test_a_database_that_stops_and_starts_again_is_survived(
    replicas: list[LoopbackServer], postgres: PostgresServer, tmp_path: Path
) -> None:
    postgres.stop()
    try:
        stream = Stream(replicas[0])
        assert refusal(stream.begin(SCENE)) == ("REASON_STORAGE", True)
    finally:
        postgres.start()
    assert stream.upload(SCENE).WhichOneof("answer") == "stored"
    with Outbox(tmp_path / "outbox") as outbox:
        fill(outbox, 5)
        report = Uploader(replicas[1].target, make_identity(), QUICK).run(outbox)
    assert (report.stored, report.refusals) == (5, ())
    assert replicas[0].archive.catalogue.counts().scenes == 6


def test_other_keys_of_pseudonyms_are_refused(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    arguments = ["serve", "--any-backbone", "--data", str(tmp_path / "d"), "--port", str(taken.getsockname()[1])]

    def start() -> BaseException | None:
        return CliRunner().invoke(app, arguments).exception

    assert "cannot listen" in str(start())  # the first one says which key holds
    monkeypatch.setenv("UPCYCLE_PSEUDONYM_KEY", "08" * 32)
    error = start()
    taken.close()
    assert isinstance(error, ConfigError)
    assert "give every server the same UPCYCLE_PSEUDONYM_KEY" in str(error)


def test_commands_find_what_is_stored(replicas: list[LoopbackServer], tmp_path: Path) -> None:
    Stream(replicas[0]).upload(SCENE)
    (line,) = CliRunner().invoke(app, ["ls", "--json", "--data", str(tmp_path / "nothing")]).stdout.splitlines()
    assert json.loads(line)["scene_id"] == SCENE.manifest.scene_id
    log = open_run_log(tmp_path, is_new_allowed=True)
    log.create(make_run())
    log.close()
    reader = open_run_log(tmp_path)
    assert [run.run_id for run in reader.runs()] == ["run-1"]
    reader.close()
    assert not (tmp_path / "catalogue.sqlite").exists()


def test_records_over_postgres_and_s3(
    replicas: list[LoopbackServer], s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    Stream(replicas[0]).upload(SCENE)
    data = ("--data", str(tmp_path / "nothing"))
    assert CliRunner().invoke(app, ["export", *data, "--vehicle", "car-1", "--out", str(tmp_path / "out"),
                                    "--with-payloads"]).exit_code == 0  # fmt: skip
    assert (tmp_path / "out" / "payloads" / SCENE.manifest.payload_sha256).read_bytes() == SCENE.payload
    deleted = CliRunner().invoke(app, ["delete", *data, "--vehicle", "car-1", "--yes", "--refuse-again"])
    assert (deleted.exit_code, "runs that learned from these scenes are not looked for" in deleted.output) == (0, True)
    assert s3.keys(bucket) == []
    assert refusal(Stream(replicas[1]).begin(SCENE)) == ("REASON_PERMISSION_DENIED", False)
    verified = CliRunner().invoke(app, ["verify-log", *data, "--json"])
    assert (verified.exit_code, json.loads(verified.stdout)["entries"]) == (0, 4)  # upload, export, delete, removed


def test_a_killed_server_process_is_replaced_by_another(
    bucket: str, s3: S3Server, repository: Path, tmp_path: Path
) -> None:
    """Two real processes; the first is killed when a part of a scene of several pieces has come in.

    Payloads lie in the bucket, so the space in the data folder does not matter.
    """
    scene, config = large_scene(), tmp_path / "serve.toml"
    config.write_text("[watchdog]\nmin_free_bytes = 4000000000000000000\n")
    more = ("--config", str(config))
    with ExitStack() as stack, serving(repository, tmp_path / "one", more=more) as (killed, port):
        stream = Stream(stack.enter_context(Remote(port)), make_identity(codecs=("float32",)))  # type: ignore[arg-type]
        begun = stream.begin(scene)
        assert (begun.WhichOneof("answer"), begun.send_from.offset) == ("send_from", 0), begun
        send(stream, scene, (9 << 18) // CHUNK)
        while len(s3.keys(bucket)) < 2:
            assert killed.poll() is None
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert stream.status() == grpc.StatusCode.UNAVAILABLE
    with ExitStack() as stack, serving(repository, tmp_path / "other") as (_, port):
        stream = Stream(stack.enter_context(Remote(port)), make_identity(codecs=("float32",)))  # type: ignore[arg-type]
        offset = stream.begin(scene).send_from.offset
        assert offset == 2 << 20
        send(stream, scene, 9999, offset)
        assert stream.finish(scene).WhichOneof("answer") == "stored"
        (row,) = listed(repository, tmp_path / "nothing", "ls")
    assert row["payload_sha256"] == hashlib.sha256(scene.payload).hexdigest()
    archive = open_archive(tmp_path)
    (stored,) = archive.catalogue.scenes()
    assert archive.encoded(stored).payload == scene.payload
    archive.close()
