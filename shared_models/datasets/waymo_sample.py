"""Single Waymo sweeps, prepared as .npz files; the TFRecord and Parquet files of the dataset itself are not read.

    ROOT/*.npz    xyz (N, 3) metres in the vehicle frame, intensity_raw (N,), elongation (N,)

There are no labels and no images. Raw intensity has no upper end; tanh brings it to 0..1, as OpenPCDet does.
Points inside the recording vehicle are dropped: such files keep pixels without a return there.
Source of the data: P. Sun et al., "Scalability in Perception for Autonomous Driving", CVPR 2020.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from shared_models.dataset import Dataset
from shared_models.datasets.frame_listing import files_by_frame, unknown_frame
from shared_models.datasets.stored_arrays import read_arrays
from shared_models.errors import DatasetError
from shared_models.records import Frame

ARRAYS: Final = {"xyz": (None, 3), "intensity_raw": (None,), "elongation": (None,)}
# [x y z] of the recording vehicle's body, metres, origin on the ground below the rear axle.
BODY_LOW_M, BODY_HIGH_M = (-1.2, -1.0, -0.3), (4.1, 1.0, 1.9)


class WaymoSampleDataset(Dataset):
    """Sweeps named by their files."""

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
        xyz, intensity, elongation = (arrays[name] for name in ARRAYS)
        if not len(xyz) == len(intensity) == len(elongation):
            raise DatasetError(f"{path}: xyz, intensity_raw and elongation have different lengths")
        if len(intensity) and intensity.min() < 0:
            raise DatasetError(f"{path}: expected intensities of at least 0, got {intensity.min():g}")
        columns = (xyz, np.tanh(intensity)[:, None], elongation[:, None])
        points = np.concatenate(columns, axis=1).astype(np.float32)
        return Frame(
            frame_id=frame_id,
            points=points[~_is_inside_vehicle(points)],
            point_fields=("x", "y", "z", "intensity", "elongation"),
        )


def _is_inside_vehicle(points: NDArray[np.float32]) -> NDArray[np.bool_]:
    xyz = points[:, :3]
    is_between: NDArray[np.bool_] = (xyz > np.array(BODY_LOW_M)) & (xyz < np.array(BODY_HIGH_M))
    inside: NDArray[np.bool_] = np.all(is_between, axis=1)
    return inside
