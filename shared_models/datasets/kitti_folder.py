"""Frames of any dataset with a front camera as a folder in KITTI's object detection format.

    ROOT/{training,testing}/{velodyne,velodyne_reduced,calib,label_2,image_2}/NNNNNN.*
    ROOT/ImageSets/{train,val,trainval,test}.txt
    ROOT/frames.csv                 which frame of the source became which number

Labelled frames go to training/, others to testing/. Objects that the image does not show are left out, as KITTI does.
What KITTI's recording car has and other sources lack is filled so that programs find every key: P0 and P1 are camera 2
without its offset, P3 is camera 2, R0_rect is the identity (Tr_velo_to_cam leads straight to the rectified camera), and
the inertial unit stands in the LiDAR.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared_models.datasets.kitti_calibration import camera_view
from shared_models.datasets.kitti_export import image_boxes_of
from shared_models.datasets.kitti_labels import DONT_CARE, camera_boxes, wrap
from shared_models.errors import ConfigError, DatasetError, InvalidValueError, StorageError
from shared_models.records import CameraCalibration, Frame, ObjectLabels
from shared_models.records.frame import POINT_FIELDS

MAX_FRAMES: Final = 1_000_000  # KITTI's names have six digits
NO_SPACE: Final = "-1 -1 -10"  # truncation, occlusion and alpha of a region without objects
NO_BOX: Final = "-1 -1 -1 -1000 -1000 -1000 -10"


class KittiFolder:
    """Writes frames into a new folder, one `add` a frame, and the splits with `finish`."""

    def __init__(self, root: Path, val_share: float = 0.2) -> None:
        """A new or empty folder; the last `val_share` of the labelled frames are for validation.

        Raises:
            DatasetError: the folder holds something.
            ConfigError: the share is not within 0 to 1.
        """
        if not 0 <= val_share <= 1:
            raise ConfigError(f"val_share: expected 0 to 1, got {val_share:g}")
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise DatasetError(f"{root}: expected a new or empty folder to export to; remove it or name another")
        self._root, self._val_share = root, val_share
        self._rows: list[tuple[str, str, str]] = []

    def add(self, frame: Frame, image_png: bytes | None = None, number: int | None = None) -> str:
        """Write one frame and give its name, "training/000000" or "testing/000000".

        image_png: the camera's image as a PNG file. number: of the frame, the next free one unless given.

        Raises:
            InvalidValueError: the frame has no camera, or its number is taken.
            StorageError: a file cannot be written.
        """
        if frame.camera is None:
            raise InvalidValueError(
                f"frame {frame.frame_id} has no camera, whose frame KITTI's labels are given in: it cannot be exported"
            )
        folder = "testing" if frame.labels is None else "training"
        taken = {name for part, name, _ in self._rows if part == folder}
        name = f"{len(taken) if number is None else number:06d}"
        if name in taken or len(name) > 6:
            raise InvalidValueError(f"frame {frame.frame_id}: expected a free number below {MAX_FRAMES}, got {name}")
        for path, content in _files(frame, frame.camera, image_png):
            _write(self._root / folder / path.replace("*", name), content)
        self._rows.append((folder, name, frame.frame_id))
        return f"{folder}/{name}"

    def finish(self) -> None:
        """Write ImageSets and frames.csv.

        Raises:
            StorageError: a file cannot be written.
        """
        labelled = [name for folder, name, _ in self._rows if folder == "training"]
        split_at = round(len(labelled) * (1 - self._val_share))
        splits = {
            "train": labelled[:split_at],
            "val": labelled[split_at:],
            "trainval": labelled,
            "test": [name for folder, name, _ in self._rows if folder == "testing"],
        }
        for split, names in splits.items():
            _write(self._root / "ImageSets" / f"{split}.txt", "".join(f"{n}\n" for n in names).encode())
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("folder", "number", "source frame"), *self._rows])
        _write(self._root / "frames.csv", text.getvalue().encode())


def _files(frame: Frame, camera: CameraCalibration, image_png: bytes | None) -> list[tuple[str, bytes]]:
    """(path with * for the number, content) of one frame's files."""
    points = frame.columns(POINT_FIELDS).astype("<f4")
    files = [
        ("velodyne/*.bin", points.tobytes()),
        ("velodyne_reduced/*.bin", points[camera_view(points, camera)].tobytes()),
        ("calib/*.txt", "".join(f"{line}\n" for line in calibration_lines(camera)).encode()),
    ]
    if frame.labels is not None:
        files.append(("label_2/*.txt", "".join(f"{line}\n" for line in label_lines(frame.labels, camera)).encode()))
    if image_png is not None:
        files.append(("image_2/*.png", image_png))
    return files


def calibration_lines(camera: CameraCalibration) -> list[str]:
    """The seven lines of a KITTI calibration file."""
    without_offset = camera.image_from_camera.copy()
    without_offset[:, 3] = 0
    matrices = {
        "P0": without_offset,
        "P1": without_offset,
        "P2": camera.image_from_camera,
        "P3": camera.image_from_camera,
        "R0_rect": np.eye(3),
        "Tr_velo_to_cam": camera.camera_from_lidar[:3],
        "Tr_imu_to_velo": np.eye(3, 4),
    }
    return [f"{key}: " + " ".join(f"{value:.12e}" for value in m.flatten()) for key, m in matrices.items()]


def label_lines(labels: ObjectLabels, camera: CameraCalibration) -> list[str]:
    """The lines of a KITTI label file: objects that the image shows, in the labels' order, then DontCare regions.

    Image boxes are the labels' own; where they are NaN they are computed from the boxes in space.
    """
    computed, is_visible = image_boxes_of(labels.boxes, camera)
    has_own: NDArray[np.bool_] = np.all(np.isfinite(labels.image_boxes), axis=1)
    image_boxes = np.where(has_own[:, None], labels.image_boxes, computed)
    bottoms, sizes, rotations = camera_boxes(labels.boxes, camera)
    alphas = wrap(rotations - np.arctan2(bottoms[:, 0], bottoms[:, 2]))
    lines = []
    for index in np.flatnonzero(has_own | is_visible).tolist():
        numbers = (*image_boxes[index], *sizes[index], *bottoms[index], rotations[index])
        words = (_word(labels.class_names[index]), _text([labels.truncation[index]]), str(labels.occlusion[index]))
        lines.append(" ".join((*words, _text([alphas[index]]), _text(numbers))))
    regions = [f"{DONT_CARE} {NO_SPACE} {_text(region)} {NO_BOX}" for region in labels.image_only_boxes]
    return lines + regions


def _word(class_name: str) -> str:
    """KITTI separates columns by spaces, so a class is one word."""
    return "_".join(class_name.split())


def _text(numbers: Sequence[float] | NDArray[np.floating]) -> str:
    """Two decimals each, as in KITTI's own files, without "-0.00"."""
    return " ".join(f"{round(float(n), 2) + 0.0:.2f}" for n in numbers)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}; check space and permissions") from error
