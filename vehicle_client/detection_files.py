"""The vehicle's own detections, one .npz file a frame; they never leave the vehicle."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import torch

from shared_models.errors import DatasetError, StorageError
from shared_models.records import Detections


def save_detections(folder: Path, frame_id: str, detections: Detections) -> Path:
    """Write FOLDER/FRAME_ID.npz (boxes, scores, labels, class_names as in `Detections`), whole or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    buffer = io.BytesIO()
    np.savez(
        buffer,
        boxes=detections.boxes.cpu().numpy(),
        scores=detections.scores.cpu().numpy(),
        labels=detections.labels.cpu().numpy(),
        class_names=np.array(detections.class_names),
    )
    path = folder / f"{frame_id}.npz"
    temporary = path.with_suffix(".npz.new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(buffer.getvalue())
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}; check space and permissions") from error
    return path


def load_detections(path: Path) -> Detections:
    """Read a file that `save_detections` wrote.

    Raises:
        DatasetError: the file is missing or not of that form.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return Detections(
                boxes=torch.from_numpy(stored["boxes"]),
                scores=torch.from_numpy(stored["scores"]),
                labels=torch.from_numpy(stored["labels"]),
                class_names=tuple(str(name) for name in stored["class_names"]),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: expected a file of detections: {error}") from error
