"""Importer for OpenPCDet's `.pth` files.

They are pickles, so they are read with `weights_only=True`: no code in the file can run. Only the parameters
under `model_state` are used; optimiser state and counters are left behind.
"""

from __future__ import annotations

import logging
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shared_models import detectors
from shared_models.checkpoints.parameters import load_into, refuse_unusable
from shared_models.detector import Detector
from shared_models.errors import CheckpointError
from shared_models.sparse.engine import SparseEngine

logger = logging.getLogger(__name__)

MAX_FILE_BYTES = 2 * 2**30
DEFAULT_SETTING = "kitti"

# What only this detector's state has; the first match decides.
_MARKS = {"second_iou": "roi_head.iou_layers.", "pv_rcnn": "pfe."}

# What unpickling a damaged or hostile file has been seen to raise.
_UNPICKLING_ERRORS = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    AssertionError, ImportError, MemoryError, OverflowError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


def read_openpcdet(path: Path, max_bytes: int = MAX_FILE_BYTES) -> dict[str, Tensor]:
    """Parameter name -> tensor (CPU) of an OpenPCDet checkpoint.

    Raises:
        CheckpointError: not such a file, hostile, larger than `max_bytes`, or with NaN or infinite numbers.
    """
    _check_size(path, max_bytes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on old or odd pickles; what matters is checked below
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except _UNPICKLING_ERRORS as error:
        # torch's own message advises to load without its protection; it stays in the traceback only.
        raise CheckpointError(
            f"{path}: expected a PyTorch checkpoint that holds tensors and plain values only; the file is damaged or "
            "needs to run code to load, and such a file is never loaded. Get it again from its source, or save its "
            "'model_state' alone where you trust it"
        ) from error
    return refuse_unusable(_model_state(found, path), str(path))


def _check_size(path: Path, max_bytes: int) -> None:
    try:
        size = path.stat().st_size
        if zipfile.is_zipfile(path):  # entries may be compressed: what counts is what they unfold to
            with zipfile.ZipFile(path) as archive:
                size = max(size, sum(entry.file_size for entry in archive.infolist()))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise CheckpointError(f"{path}: a damaged or truncated archive ({error})") from error
    if size > max_bytes:
        raise CheckpointError(f"{path}: {size} bytes; at most {max_bytes} are read")


def _model_state(found: Any, path: Path) -> Mapping[Any, Any]:
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path}: expected a dictionary with 'model_state', got {type(found).__name__}")
    state = found.get("model_state")
    if state is None:
        keys = ", ".join(sorted(map(str, found))[:8]) or "nothing"
        raise CheckpointError(f"{path}: no 'model_state' in the file; it has: {keys[:200]}")
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"{path}: 'model_state' must be a dictionary of tensors, got {type(state).__name__}")
    return state


def infer_detector(state: Mapping[str, Tensor], source: str) -> str:
    """Name of the detector whose parameters `state` has.

    Raises:
        CheckpointError: none of the known ones.
    """
    for name, mark in _MARKS.items():
        if any(parameter.startswith(mark) for parameter in state):
            return name
    marks = ", ".join(f"{mark}* for {name}" for name, mark in _MARKS.items())
    raise CheckpointError(f"{source}: of no detector known here (looked for parameters {marks})")


def load_openpcdet(
    path: Path,
    device: str | torch.device = "cpu",
    setting: str | None = None,
    engine: SparseEngine | None = None,
) -> Detector:
    """The detector in an OpenPCDet checkpoint, on `device`, in evaluation mode.

    The parameters tell which detector it is, but not the range and voxel size it was trained with.
    setting: the detector's setting in `shared_models.detectors`. Unless told, `kitti` or, where its shapes do not
    fit, the first setting whose shapes do.
    engine: of its sparse convolutions, the default one unless told.

    Raises:
        CheckpointError: as in `read_openpcdet`, or the parameters do not fit the detector.
        UnknownNameError: there is no such setting.
    """
    state = read_openpcdet(path)
    name = infer_detector(state, str(path))
    if setting is not None:
        return _load(state, name, setting, engine, path).to(device)
    try:
        return _load(state, name, DEFAULT_SETTING, engine, path).to(device)
    except CheckpointError as misfit:
        for other in detectors.SETTINGS:
            if other != DEFAULT_SETTING and (found := _load_if_it_fits(state, name, other, engine, path)):
                logger.info("checkpoint fits another setting than the default", extra={"setting": other})
                return found.to(device)
        raise misfit


def _load(state: Mapping[str, Tensor], name: str, setting: str, engine: SparseEngine | None, path: Path) -> Detector:
    detector = detectors.build(name, setting, engine=engine, for_openpcdet=True)
    load_into(detector, state, f"{path} (as {name}, setting {setting})")
    return detector


def _load_if_it_fits(
    state: Mapping[str, Tensor], name: str, setting: str, engine: SparseEngine | None, path: Path
) -> Detector | None:
    try:
        return _load(state, name, setting, engine, path)
    except CheckpointError:
        return None
