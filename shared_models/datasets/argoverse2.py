"""Single Argoverse 2 sweeps, prepared as .npz files; Feather files are not read (they would need pyarrow).

    ROOT/LOG_TIMESTAMP.npz    points (N, 4) [x y z intensity 0-255], laser_number (N,), boxes (M, 8) [x y z l w h yaw
                              number of points], categories (M,)

Everything is in the vehicle's frame (x forward, y left, z up, origin at the rear axle); the sweep is that of two
32-beam LiDARs, one above the other.
Source of the data: B. Wilson et al., "Argoverse 2", NeurIPS Datasets and Benchmarks 2021.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

import numpy as np

from shared_models.dataset import Dataset
from shared_models.datasets.frame_listing import files_by_frame, unknown_frame
from shared_models.datasets.plain_labels import plain_labels
from shared_models.datasets.stored_arrays import read_arrays
from shared_models.errors import DatasetError
from shared_models.records import Frame

ARRAYS: Final = {"points": (None, 4), "laser_number": (None,), "boxes": (None, 8), "categories": (None,)}
MAX_INTENSITY: Final = 255.0


class Argoverse2Dataset(Dataset):
    """Sweeps named by their files; the part after the last "_" is the time in nanoseconds."""

    def __init__(self, root: Path, split: str = "all") -> None:
        self._root = Path(root)
        self._paths = files_by_frame(self._root, "*.npz", "", split)

    @classmethod
    def open(cls, root: Path, split: str = "all") -> Self:
        return cls(root, split)

    @property
    def frame_ids(self) -> tuple[str, ...]:
        return tuple(self._paths)

    def frame(self, frame_id: str) -> Frame:
        if frame_id not in self._paths:
            raise unknown_frame(self._root, frame_id, self._paths)
        path = self._paths[frame_id]
        arrays = read_arrays(path, ARRAYS)
        stored, laser, boxes, categories = (arrays[name] for name in ARRAYS)
        if len(stored) != len(laser) or len(boxes) != len(categories):
            raise DatasetError(f"{path}: points and laser_number, or boxes and categories, have different lengths")
        if len(stored) and not 0 <= stored[:, 3].min() <= stored[:, 3].max() <= MAX_INTENSITY:
            raise DatasetError(f"{path}: expected intensities 0 to {MAX_INTENSITY:g}, got others")
        points = np.concatenate([stored, laser[:, None]], axis=1).astype(np.float32)
        points[:, 3] /= MAX_INTENSITY
        timestamp = frame_id.rpartition("_")[2]
        return Frame(
            frame_id=frame_id,
            points=points,
            point_fields=("x", "y", "z", "intensity", "ring"),
            timestamp_ns=int(timestamp) if timestamp.isdecimal() else 0,
            labels=plain_labels(boxes[:, :7].astype(np.float32), [str(name) for name in categories]),
        )
