"""The project's own checkpoints: a folder with `model.safetensors` and `manifest.json`, never changed once written."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from shared_models import configuration
from shared_models.checkpoints.construct import construct
from shared_models.checkpoints.manifest import MANIFEST_FILE, MODEL_FILE, CheckpointManifest, read_manifest
from shared_models.checkpoints.parameters import load_into, refuse_unusable
from shared_models.detector import Detector
from shared_models.errors import CheckpointError, StorageError, StorageFullError
from shared_models.sparse.engine import SparseEngine

MAX_MODEL_BYTES = 2 * 2**30


def save(
    detector: Detector,
    directory: Path,
    *,
    is_trained: bool,
    parent: str | None = None,
    note: str = "",
    metrics: Mapping[str, float] | None = None,
    created_ns: int | None = None,
) -> CheckpointManifest:
    """Write `detector` as the new folder `directory`: whole and durable, or not at all.

    parent: id of the checkpoint that it was trained from.
    created_ns: nanoseconds since the epoch, now unless told.

    Raises:
        CheckpointError: the folder exists already, or a weight is NaN or infinite.
        StorageFullError, StorageError: it cannot be written.
    """
    if directory.exists():
        raise CheckpointError(f"{directory}: exists already; checkpoints are never changed, choose another name")
    state = refuse_unusable(detector.state_dict(), f"detector {detector.name}")
    model = safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in state.items()})
    manifest = CheckpointManifest(
        detector=detector.name,
        configuration=configuration.to_dict(detector.config),
        model_sha256=hashlib.sha256(model).hexdigest(),
        backbone_hash=detector.backbone_hash,
        parent=parent,
        created_ns=time.time_ns() if created_ns is None else created_ns,
        is_trained=is_trained,
        note=note,
        metrics=dict(metrics or {}),
    )
    _write_folder(directory, {MODEL_FILE: model, MANIFEST_FILE: manifest.to_json()})
    return manifest


def _write_folder(directory: Path, files: Mapping[str, bytes]) -> None:
    """All `files` reach the disk in a folder beside it, which then takes the name `directory` in one step."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        try:
            unfinished.chmod(0o755)  # mkdtemp's 0700 would lock other users of the volume out
            for name, content in files.items():
                _write_durably(unfinished / name, content)
            _sync_folder(unfinished)
            unfinished.rename(directory)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        _sync_folder(directory.parent)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind = StorageFullError if full else StorageError
        raise kind(f"{directory}: the checkpoint was not written ({error.strerror})") from error


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load(directory: Path, device: str | torch.device = "cpu", engine: SparseEngine | None = None) -> Detector:
    """The detector in a checkpoint folder, on `device`, in evaluation mode; both hashes are verified.

    engine: of its sparse convolutions, the default one unless told.

    Raises:
        CheckpointError: damaged, hostile, or of a detector or configuration that this build does not have.
    """
    manifest = read_manifest(directory)
    model = _read_model(directory / MODEL_FILE, manifest.model_sha256)
    try:
        state = safetensors.torch.load(model)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{directory / MODEL_FILE}: not a safetensors file ({error})") from error
    state = refuse_unusable(state, str(directory))
    detector = construct(manifest.detector, manifest.configuration, state, engine, str(directory / MANIFEST_FILE))
    load_into(detector, state, str(directory))
    if detector.backbone_hash != manifest.backbone_hash:
        raise CheckpointError(
            f"{directory}: its backbone has the hash {detector.backbone_hash[:12]}..., "
            f"the manifest says {manifest.backbone_hash[:12]}...; configuration and weights do not belong together"
        )
    return detector.to(device).eval()


def _read_model(path: Path, expected_sha256: str) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise CheckpointError(f"{path}: {size} bytes; at most {MAX_MODEL_BYTES} are read")
        model = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    actual = hashlib.sha256(model).hexdigest()
    if actual != expected_sha256:
        raise CheckpointError(
            f"{path}: its SHA-256 is {actual[:12]}..., the manifest says {expected_sha256[:12]}...; "
            "the file is damaged or not the one that was saved"
        )
    return model
