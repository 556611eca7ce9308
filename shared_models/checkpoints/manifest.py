"""`manifest.json`: what a checkpoint is, and the identity that follows from it (docs/checkpoint-format.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared_models import configuration
from shared_models.errors import CheckpointError, ConfigError, InvalidValueError
from shared_models.records import check

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.safetensors"
MAX_MANIFEST_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointManifest:
    """What a checkpoint is.

    format_version: of the checkpoint folder.
    detector: name in `shared_models.detectors`.
    configuration: complete configuration of the detector, as plain JSON values; checked by the detector's own class.
    model_sha256: SHA-256 (hex) of `model.safetensors`.
    backbone_hash: of the vehicle's part, as in `SceneFeatures`.
    parent: id of the checkpoint that this one was trained from, None for a first one.
    created_ns: nanoseconds since the epoch.
    is_trained: False for weights that are seeded only.
    note: one line for people.
    metrics: measured numbers by name.
    """

    format_version: int = FORMAT_VERSION
    detector: str
    configuration: Mapping[str, Any]
    model_sha256: str
    backbone_hash: str
    parent: str | None = None
    created_ns: int
    is_trained: bool
    note: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check.name("CheckpointManifest", "detector", self.detector)
        check.sha256_hex("CheckpointManifest", "model_sha256", self.model_sha256)
        check.sha256_hex("CheckpointManifest", "backbone_hash", self.backbone_hash)
        if self.parent is not None:
            check.sha256_hex("CheckpointManifest", "parent", self.parent)
        if not 0 <= self.created_ns < 2**63:
            raise InvalidValueError(f"CheckpointManifest.created_ns: expected 0 to 2^63 - 1, got {self.created_ns}")

    @property
    def checkpoint_id(self) -> str:
        """SHA-256 (hex) of the manifest as canonical JSON; it covers the model through its hash."""
        canonical = json.dumps(configuration.to_dict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_json(self) -> bytes:
        """The text of `manifest.json`.

        Raises:
            InvalidValueError: a value that JSON does not have, such as NaN.
        """
        try:
            return (json.dumps(configuration.to_dict(self), indent=2, allow_nan=False) + "\n").encode()
        except (TypeError, ValueError) as error:
            raise InvalidValueError(f"CheckpointManifest: cannot be written as JSON: {error}") from error


def read_manifest(directory: Path) -> CheckpointManifest:
    """The manifest in a checkpoint folder.

    Raises:
        CheckpointError: there is none, or it is damaged, of another version or has unknown keys.
    """
    path = directory / MANIFEST_FILE
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise CheckpointError(f"{path}: larger than the {MAX_MANIFEST_BYTES} bytes that a manifest may have")
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); is this a checkpoint folder?") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from error
    version = found.get("format_version") if isinstance(found, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{path}: this build reads checkpoint format {FORMAT_VERSION}, got {version!r}")
    try:
        return configuration.from_dict(CheckpointManifest, found)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error
