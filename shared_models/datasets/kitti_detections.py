"""Detections from KITTI's text format, as other programs write them."""

from __future__ import annotations

from pathlib import Path

import torch

from shared_models.datasets.kitti_labels import DONT_CARE, lidar_boxes, read_objects
from shared_models.errors import DatasetError
from shared_models.records import CameraCalibration, Detections


def read_detections(path: Path, camera: CameraCalibration) -> Detections:
    """The detections in a text file of one frame, best score first, boxes in the LiDAR frame.

    Raises:
        DatasetError: the file is missing, a line is malformed or lacks the score, or a score is not within 0 to 1.
    """
    objects = [o for o in read_objects(path) if o.kind != DONT_CARE]
    scores = [-1.0 if o.score is None else o.score for o in objects]
    wrong = next((o for o, score in zip(objects, scores, strict=True) if not 0 <= score <= 1), None)
    if wrong is not None:
        raise DatasetError(f"{path}: expected a score of 0 to 1 in the last column, got {wrong.score} for {wrong.kind}")
    names = tuple(sorted({o.kind for o in objects}))
    order = sorted(range(len(objects)), key=lambda index: -scores[index])
    ordered = [objects[index] for index in order]
    return Detections(
        boxes=torch.from_numpy(lidar_boxes(ordered, camera)),
        scores=torch.tensor([scores[index] for index in order], dtype=torch.float32),
        labels=torch.tensor([names.index(o.kind) for o in ordered], dtype=torch.int64),
        class_names=names,
    )
