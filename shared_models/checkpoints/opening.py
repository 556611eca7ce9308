"""Opening a checkpoint of either format."""

from __future__ import annotations

from pathlib import Path

import torch

from shared_models.checkpoints import native, openpcdet
from shared_models.checkpoints.manifest import MANIFEST_FILE, MODEL_FILE
from shared_models.detector import Detector
from shared_models.errors import CheckpointError
from shared_models.sparse.engine import SparseEngine


def open_checkpoint(
    path: Path,
    device: str | torch.device = "cpu",
    setting: str | None = None,
    engine: SparseEngine | None = None,
) -> Detector:
    """The detector at `path`: a checkpoint folder (or one of its two files), or an OpenPCDet `.pth`.

    setting: for a `.pth`, the setting it was trained in; without it `kitti`, or another if only that has the file's
        shapes. A folder knows its own.
    engine: of the detector's sparse convolutions, the default one unless told.

    Raises:
        CheckpointError: there is nothing, or it is damaged, hostile or does not fit.
    """
    if path.name in (MANIFEST_FILE, MODEL_FILE):
        path = path.parent
    if path.is_dir():
        return native.load(path, device, engine)
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint; expected a checkpoint folder or an OpenPCDet .pth file")
    return openpcdet.load_openpcdet(path, device, setting, engine)
