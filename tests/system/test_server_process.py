"""The server as a process: it starts, is killed without warning, starts again, and has all that it acknowledged."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shared_models import codecs
from shared_models.errors import StorageError
from shared_models.records import EncodedScene, GridFeatures, SceneFeatures
from tests.loopback import BACKBONE, make_identity, make_scene
from vehicle_client.outbox import Outbox
from vehicle_client.uploader import Uploader, UploaderConfig

SCENES = 60


def real_scene(number: int) -> EncodedScene:
    """A scene with a payload that a real codec made."""
    generator = torch.Generator().manual_seed(number)
    cells = torch.randperm(50 * 44, generator=generator)[:300].sort().values
    coords = torch.stack([torch.zeros_like(cells), cells // 44, cells % 44], dim=1).int()
    grid = GridFeatures(coords=coords, features=torch.randn(300, 64, generator=generator), shape=(2, 50, 44))
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
def serving(repository: Path, data: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    arguments = ["serve", "--data", str(data), "--port", str(port), "--backbone-hash", BACKBONE]
    process = subprocess.Popen(
        command(*arguments), cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
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


def test_one_server_per_folder(tmp_path: Path) -> None:
    from server.repositories.archive import sole_writer

    with (
        sole_writer(tmp_path / "data"),
        pytest.raises(StorageError, match="another server is running"),
        sole_writer(tmp_path / "data"),
    ):
        pass
