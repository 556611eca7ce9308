"""The project's own checkpoint folders, with a small stand-in for a detector."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from shared_models import checkpoints, detectors
from shared_models.errors import CheckpointError, StorageFullError


@dataclass(frozen=True, slots=True, kw_only=True)
class StandInConfig:
    width: int = 4
    range_m: tuple[float, float] = (0.0, 70.4)


class StandIn(nn.Module):
    """Has what a checkpoint needs of a detector."""

    name = "stand_in"
    config_class = StandInConfig

    def __init__(self, config: StandInConfig, engine: object) -> None:
        super().__init__()
        self.config = config
        self.backbone = nn.Linear(config.width, 3)
        self.norm = nn.BatchNorm1d(3)

    @property
    def backbone_hash(self) -> str:
        parts = [repr(self.config).encode()]
        parts += [t.numpy().tobytes() for t in self.backbone.state_dict().values()]
        return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.fixture(autouse=True)
def stand_in_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectors, "DETECTORS", {"stand_in": f"{__name__}:StandIn"})


def trained(width: int = 5) -> StandIn:
    torch.manual_seed(1)
    return StandIn(StandInConfig(width=width), None)


def save(folder: Path, **changes: Any) -> checkpoints.CheckpointManifest:
    settings: dict[str, Any] = {"is_trained": True, "note": "a test", "metrics": {"ap": 71.5}, "created_ns": 5}
    return checkpoints.save(trained(), folder, **(settings | changes))


def edit_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_saved_detector_comes_back(tmp_path: Path) -> None:
    detector, folder = trained(), tmp_path / "runs" / "first"
    manifest = checkpoints.save(detector, folder, is_trained=False, parent="ab" * 32, created_ns=7)
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "model.safetensors"]
    assert [path.name for path in folder.parent.iterdir()] == ["first"]
    back = checkpoints.load(folder)
    assert back.config == detector.config
    assert not back.training
    assert back.backbone_hash == detector.backbone_hash == manifest.backbone_hash
    for name, tensor in detector.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name
    stored = checkpoints.read_manifest(folder)
    assert stored == manifest
    assert (stored.parent, stored.created_ns, stored.is_trained) == ("ab" * 32, 7, False)


def test_the_identity_covers_weights_and_manifest(tmp_path: Path) -> None:
    first = save(tmp_path / "a")
    assert save(tmp_path / "b").checkpoint_id == first.checkpoint_id
    assert checkpoints.read_manifest(tmp_path / "a").checkpoint_id == first.checkpoint_id
    assert save(tmp_path / "c", note="another").checkpoint_id != first.checkpoint_id
    assert save(tmp_path / "d", parent=first.checkpoint_id).checkpoint_id != first.checkpoint_id


def test_an_existing_checkpoint_is_never_overwritten(tmp_path: Path) -> None:
    save(tmp_path / "a")
    with pytest.raises(CheckpointError, match="exists already"):
        save(tmp_path / "a")


def test_weights_that_are_nan_are_not_saved(tmp_path: Path) -> None:
    detector = trained()
    with torch.no_grad():
        detector.backbone.bias[1] = float("nan")
    with pytest.raises(CheckpointError, match=r"backbone\.bias.*NaN"):
        checkpoints.save(detector, tmp_path / "a", is_trained=True)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFullError, match="No space left"):
        save(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_changed_model_file_is_noticed(tmp_path: Path) -> None:
    save(tmp_path / "a")
    path = tmp_path / "a" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256"):
        checkpoints.load(tmp_path / "a")


def test_garbage_with_a_right_hash_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a")
    for garbage in (b"", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{}"):
        (tmp_path / "a" / "model.safetensors").write_bytes(garbage)
        edit_manifest(tmp_path / "a", model_sha256=hashlib.sha256(garbage).hexdigest())
        with pytest.raises(CheckpointError, match=r"safetensors|missing parameter 'backbone\.weight'"):
            checkpoints.load(tmp_path / "a")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "reads checkpoint format 1, got 2"),
        ({"colour": "red"}, "colour: unknown key; known here: format_version, detector"),
        ({"model_sha256": "12"}, "64 lower-case hexadecimal digits"),
        ({"metrics": {"ap": "high"}}, "metrics.ap: expected finite float"),
        ({"detector": "yolo"}, "unknown detector 'yolo'; known: stand_in"),
        ({"configuration": {"depth": 3}}, "depth: unknown key; known here: width, range_m"),
        ({"configuration": {"width": 6}}, r"misshapen parameter 'backbone\.weight': expected \[3, 6\], got \[3, 5\]"),
        ({"configuration": {"width": 5, "range_m": [0, 50]}}, "do not belong together"),
        ({"backbone_hash": "00" * 32}, "do not belong together"),
        ({"configuration": 3}, "configuration: expected a table"),
    ],
)
def test_changed_manifests_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    save(tmp_path / "a")
    edit_manifest(tmp_path / "a", **changes)
    with pytest.raises(CheckpointError, match=message):
        checkpoints.load(tmp_path / "a")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"format_version": NaN}', b"\xff\xfe", b"[" * 100_000])
def test_manifests_that_are_no_json_are_refused(tmp_path: Path, content: bytes) -> None:
    save(tmp_path / "a")
    (tmp_path / "a" / "manifest.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        checkpoints.load(tmp_path / "a")


def test_open_checkpoint_takes_the_folder_or_its_files(tmp_path: Path) -> None:
    save(tmp_path / "a")
    for path in (tmp_path / "a", tmp_path / "a" / "manifest.json", tmp_path / "a" / "model.safetensors"):
        assert checkpoints.open_checkpoint(path).config.width == 5
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        checkpoints.open_checkpoint(tmp_path / "b")
    with pytest.raises(CheckpointError, match="is this a checkpoint folder"):
        checkpoints.open_checkpoint(tmp_path)
