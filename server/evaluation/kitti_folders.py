"""Frames to evaluate from two folders of KITTI text files, `NNNNNN.txt`, labels and detections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from server.evaluation.objects import (
    UNKNOWN_POINTS,
    DetectedObjects,
    EvaluatedFrame,
    TruthObjects,
    upright_from_camera,
)
from shared_models.datasets.kitti_labels import DONT_CARE, KittiObject, read_objects
from shared_models.errors import DatasetError

NO_ALPHA: Final = -10.0  # KITTI's mark of an orientation that was not estimated


def read_folders(
    labels: Path, detections: Path, *, allow_missing: bool = False, progress: Callable[[int, int], None] | None = None
) -> list[EvaluatedFrame]:
    """Every frame that has a label file, in the order of the names.

    allow_missing: a frame without a detection file has no detections; otherwise it is an error, as it is for KITTI.
    progress: called with the frames read so far and their number.

    Raises:
        DatasetError: a folder or file is missing, or a line is malformed; the message names path and line.
    """
    paths = _text_files(labels)
    found = {path.name for path in _text_files(detections, is_empty_allowed=allow_missing)}
    missing = [path.name for path in paths if path.name not in found]
    if missing and not allow_missing:
        raise DatasetError(
            f"{detections}: expected a file for each of the {len(paths)} label files, {len(missing)} are missing, "
            f"first {missing[0]}; write an empty file where nothing was found, or use --allow-missing"
        )
    frames = []
    for count, path in enumerate(paths, start=1):
        frames.append(_read_frame(path, detections / path.name if path.name in found else None))
        if progress is not None:
            progress(count, len(paths))
    return frames


def frame_of_objects(frame_id: str, labelled: Sequence[KittiObject], detected: Sequence[KittiObject]) -> EvaluatedFrame:
    """A frame of objects in KITTI's form: camera boxes, image boxes and angles are used as they are given.

    Raises:
        DatasetError: a detected object has no score.
    """
    unscored = next((o for o in detected if o.score is None), None)
    if unscored is not None:
        raise DatasetError(f"frame {frame_id}: expected a score in the last column, got none for {unscored.kind}")
    objects = [o for o in labelled if o.kind != DONT_CARE]
    regions = [o.image_box for o in labelled if o.kind == DONT_CARE]
    truth = TruthObjects(
        class_names=tuple(o.kind for o in objects),
        boxes=_upright_boxes(objects),
        image_boxes=_numbers([o.image_box for o in objects], 4),
        alpha_rad=_alphas(objects),
        occlusion=np.array([o.occlusion for o in objects], dtype=np.int64),
        truncation=np.array([o.truncation for o in objects], dtype=np.float64),
        point_counts=np.full(len(objects), UNKNOWN_POINTS, dtype=np.int64),
        image_only_boxes=_numbers(regions, 4),
    )
    found = [o for o in detected if o.kind != DONT_CARE]
    detections = DetectedObjects(
        class_names=tuple(o.kind for o in found),
        boxes=_upright_boxes(found),
        image_boxes=_numbers([o.image_box for o in found], 4),
        alpha_rad=_alphas(found),
        scores=np.array([o.score for o in found], dtype=np.float64),
    )
    return EvaluatedFrame(frame_id=frame_id, truth=truth, detections=detections)


def _read_frame(label_path: Path, detection_path: Path | None) -> EvaluatedFrame:
    labelled = read_objects(label_path)
    detected = read_objects(detection_path) if detection_path is not None else []
    try:
        return frame_of_objects(label_path.stem, labelled, detected)
    except DatasetError as error:
        raise DatasetError(f"{detection_path}: {error}") from error


def _text_files(folder: Path, is_empty_allowed: bool = False) -> list[Path]:
    if not folder.is_dir():
        raise DatasetError(f"{folder}: expected a folder of KITTI text files (NNNNNN.txt), it is missing")
    paths = sorted(folder.glob("*.txt"))
    if not paths and not is_empty_allowed:
        raise DatasetError(f"{folder}: expected KITTI text files (NNNNNN.txt), found none")
    return paths


def _upright_boxes(objects: Sequence[KittiObject]) -> NDArray[np.float64]:
    return upright_from_camera(
        _numbers([o.bottom_centre_m for o in objects], 3),
        _numbers([o.size_m for o in objects], 3),
        np.array([o.rotation_y_rad for o in objects], dtype=np.float64),
    )


def _alphas(objects: Sequence[KittiObject]) -> NDArray[np.float64]:
    alphas = np.array([o.alpha_rad for o in objects], dtype=np.float64)
    return np.where(alphas == NO_ALPHA, np.nan, alphas)


def _numbers(rows: Sequence[tuple[float, ...]], columns: int) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64).reshape(-1, columns)
