"""Detectors on disk: the project's own format, and reading of OpenPCDet's `.pth` files."""

from shared_models.checkpoints.manifest import CheckpointManifest, read_manifest
from shared_models.checkpoints.native import load, save
from shared_models.checkpoints.opening import open_checkpoint
from shared_models.checkpoints.openpcdet import load_openpcdet, read_openpcdet
from shared_models.checkpoints.parameters import LoadReport, load_into

__all__ = [
    "CheckpointManifest",
    "LoadReport",
    "load",
    "load_into",
    "load_openpcdet",
    "open_checkpoint",
    "read_manifest",
    "read_openpcdet",
    "save",
]
