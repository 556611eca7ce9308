"""`upcycle server`: arguments, listing and showing."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from protos.policy import Policy
from server.cli import app
from server.repositories.archive import open_archive
from server.repositories.pseudonym import open_pseudonyms
from shared_models import checkpoints, codecs, detectors
from shared_models.errors import CheckpointError, ConfigError, InvalidValueError, NotFoundError
from shared_models.records import GridFeatures, SceneFeatures, SetFeatures
from tests.loopback import BACKBONE, make_scene


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A server's folder with one scene in it."""
    coords = torch.tensor([[0, 1, 2]], dtype=torch.int32)
    features = SceneFeatures(
        grid=GridFeatures(coords=coords, features=torch.eye(1, 4), shape=(2, 5, 5)),
        keypoints=SetFeatures(positions=torch.zeros(3, 3), features=torch.ones(3, 6)),
        split_layer="conv_out",
        backbone_hash=BACKBONE,
    )
    payload = codecs.encode(features, "float32")
    sha256 = hashlib.sha256(payload).hexdigest()
    manifest = replace(make_scene(codec="float32").manifest, payload_sha256=sha256, payload_bytes=len(payload))
    archive = open_archive(tmp_path / "data", is_new_allowed=True)
    partial = archive.store.open_partial(manifest.scene_id)
    partial.append(payload)
    partial.commit()
    archive.catalogue.add(manifest, stored_at_ns=1_700_000_000_000_000_000)
    archive.close()
    return tmp_path / "data"


def test_ls(data: Path) -> None:
    result = run("ls", "--data", str(data))
    assert result.exit_code == 0
    assert "1 scenes" in result.stdout
    (line,) = run("ls", "--data", str(data), "--json").stdout.splitlines()
    row = json.loads(line)
    assert (row["frame_id"], row["codec"], row["stored_at"]) == ("000000", "float32", "2023-11-14T22:13:20Z")
    assert "car-1" not in result.stdout + line


def test_show(data: Path) -> None:
    scene_id = json.loads(run("ls", "--data", str(data), "--json").stdout)["scene_id"]
    shown = json.loads(run("show", scene_id[:6], "--data", str(data), "--json").stdout)
    assert shown["scene"]["scene_id"] == scene_id
    assert shown["header"]["backbone_hash"] == BACKBONE
    assert shown["features"] == {
        "active cells": 1,
        "map (D, H, W)": [2, 5, 5],
        "grid features": [1, 4],
        "grid min, mean, max": [0.0, 0.25, 1.0],
        "grid zeros": 0.75,
        "keypoints features": [3, 6],
        "keypoints min, mean, max": [1.0, 1.0, 1.0],
        "keypoints zeros": 0.0,
    }
    page = run("show", scene_id, "--data", str(data)).stdout
    assert "active cells" in page
    assert f"  scene_id                     {scene_id}\n" in page
    assert page.count(BACKBONE) == 2


@pytest.mark.parametrize(("prefix", "error"), [("0123456789", NotFoundError), ("../x", InvalidValueError)])
def test_show_unknown(data: Path, prefix: str, error: type[Exception]) -> None:
    assert isinstance(run("show", prefix, "--data", str(data)).exception, error)


def test_folder_without_data(tmp_path: Path) -> None:
    result = run("ls", "--data", str(tmp_path))
    assert isinstance(result.exception, NotFoundError)
    assert "--data" in str(result.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((), ConfigError, "--any-backbone"),
        (("--any-backbone", "--backbone-hash", BACKBONE), ConfigError, "--any-backbone"),
        (("--backbone-hash", "XYZ"), InvalidValueError, "64 lower-case"),
        (("--any-backbone", "--host", "0.0.0.0"), ConfigError, "--insecure-public"),
        (("--any-backbone", "--host", "0.0.0.0", "--insecure-public", "--tls", "pki"), ConfigError, "one of them"),
        (("--any-backbone", "--tls", "nowhere"), ConfigError, "nowhere/key.pem"),
        (("--any-backbone", "--codec", "int3"), ConfigError, "int3"),
        (("--checkpoint", "nowhere/model.safetensors"), CheckpointError, "no such checkpoint"),
        (("--checkpoint", "nowhere.pth"), CheckpointError, "no such checkpoint"),
        (("--any-backbone", "--model", "nowhere"), ConfigError, "nowhere is no folder"),
    ],
)
def test_serve_refuses(arguments: tuple[str, ...], error: type[Exception], message: str) -> None:
    result = run("serve", *arguments)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)


@pytest.mark.parametrize("kind", ["folder", "manifest.json", "pth"])
def test_serve_accepts_the_backbone_of_a_checkpoint(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = detectors.build("second_iou", "tiny", seed=1, for_openpcdet=True)
    checkpoints.save(detector, tmp_path / "model", is_trained=False)
    torch.save({"model_state": detector.state_dict()}, tmp_path / "a.pth")
    path = {"folder": tmp_path / "model", "pth": tmp_path / "a.pth"}.get(kind, tmp_path / "model" / kind)
    policies = []

    async def note(_data: object, _listen: object, policy: Policy, *_others: object) -> None:
        policies.append(policy)

    monkeypatch.setattr("server.cli._serve", note)
    assert run("serve", "--checkpoint", str(path)).exit_code == 0
    assert policies[0].backbone_hashes == {detector.backbone_hash}


def test_serve_refuses_a_damaged_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"no checkpoint")
    result = run("serve", "--checkpoint", str(tmp_path / "a.pth"))
    assert isinstance(result.exception, CheckpointError)
    assert "a.pth" in str(result.exception)


@pytest.mark.parametrize(
    ("options", "is_warned"),
    [
        (("--host", "0.0.0.0", "--insecure-public"), True),
        (("--host", "0.0.0.0", "--tls", "pki"), False),
        ((), False),
    ],
)
def test_serve_without_tls_is_loud(options: tuple[str, ...], is_warned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr("server.cli._serve", nothing)
    result = run("serve", "--any-backbone", *options)
    assert result.exit_code == 0, result.output
    assert ("INSECURE" in result.stderr) == is_warned


def test_tags_of_a_vehicle(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UPCYCLE_PSEUDONYM_KEY", raising=False)
    assert isinstance(run("tags", "car-1", "--data", str(data)).exception, NotFoundError)
    pseudonyms = open_pseudonyms(data, is_new_allowed=True)
    archive = open_archive(data, is_new_allowed=True)
    scene, now_ns = make_scene(8), time.time_ns()
    named = replace(scene.manifest, vehicle_id=pseudonyms.stored_name("car-1", now_ns))
    archive.catalogue.add(named, now_ns, scene.manifest.scene_id)
    archive.close()
    rows = [json.loads(line) for line in run("tags", "car-1", "--data", str(data), "--json").stdout.splitlines()]
    listed = [json.loads(line) for line in run("ls", "--data", str(data), "--json").stdout.splitlines()]
    assert len({row["tag"] for row in rows}) == 13
    assert listed[-1]["vehicle"] in {row["tag"] for row in rows[:2]}  # the second where midnight came in between
    assert listed[-1]["scene_id"] == scene.manifest.scene_id
    assert "car-1" not in json.dumps(listed)
    assert run("tags", "car-1", "--data", str(data), "--periods", "1").stdout.startswith(rows[0]["tag"])
