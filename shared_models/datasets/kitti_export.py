"""Detections as lines of KITTI's text format, for KITTI's own and other evaluation programs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared_models.datasets.kitti_calibration import in_camera, project
from shared_models.datasets.kitti_labels import KittiObject, camera_boxes, wrap
from shared_models.records import CameraCalibration, Detections

MIN_DEPTH_M = 0.1  # corners nearer than this are pulled to it before they are projected
CORNER_SIGNS = np.array([(sx, sy, sz) for sx in (1, -1) for sy in (1, -1) for sz in (1, -1)], dtype=np.float64)


def detections_to_kitti_lines(detections: Detections, camera: CameraCalibration) -> list[str]:
    """One line with score for each detection that the camera's image shows, in the detections' order.

    Truncation and occlusion are -1, as in KITTI's result files. Boxes wholly outside the image are left out,
    because KITTI can neither label nor evaluate them.
    """
    boxes = detections.boxes.detach().cpu().numpy().astype(np.float32)
    scores, labels = detections.scores.tolist(), detections.labels.tolist()
    image_boxes, visible = image_boxes_of(boxes, camera)
    bottoms, sizes, rotations = camera_boxes(boxes, camera)
    alphas = wrap(rotations - np.arctan2(bottoms[:, 0], bottoms[:, 2]))
    lines = []
    for index in np.flatnonzero(visible).tolist():
        left, top, right, bottom = image_boxes[index].tolist()
        height, width, length = sizes[index].tolist()
        x, y, z = bottoms[index].tolist()
        kitti_object = KittiObject(
            kind=detections.class_names[labels[index]],
            truncation=-1,
            occlusion=-1,
            alpha_rad=float(alphas[index]),
            image_box=(left, top, right, bottom),
            size_m=(height, width, length),
            bottom_centre_m=(x, y, z),
            rotation_y_rad=float(rotations[index]),
            score=scores[index],
        )
        lines.append(kitti_object.line())
    return lines


def image_boxes_of(
    boxes: NDArray[np.float32], camera: CameraCalibration
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(M, 4) pixels [left top right bottom] around each box, clipped to the image, and (M,) whether any of it shows.

    boxes: (M, 7) float32, LiDAR frame.
    """
    corners = in_camera(box_corners(boxes).reshape(-1, 3), camera)
    in_front = (corners[:, 2] > MIN_DEPTH_M).reshape(-1, 8).any(axis=1)
    corners[:, 2] = np.maximum(corners[:, 2], MIN_DEPTH_M)
    pixels = project(corners, camera)[0].reshape(-1, 8, 2)
    height, width = camera.image_size
    limits = np.array([width - 1, height - 1, width - 1, height - 1], dtype=np.float64)
    around = np.concatenate([pixels.min(axis=1), pixels.max(axis=1)], axis=1)
    clipped = np.clip(around, 0, limits)
    visible: NDArray[np.bool_] = in_front & (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    return clipped, visible


def box_corners(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """(M, 8, 3) float64 corners of (M, 7) boxes, metres, in the boxes' own frame of reference."""
    values = boxes.astype(np.float64)
    local = CORNER_SIGNS[None] * values[:, None, 3:6] / 2
    cosine, sine = np.cos(values[:, 6:7]), np.sin(values[:, 6:7])
    x = cosine * local[..., 0] - sine * local[..., 1]
    y = sine * local[..., 0] + cosine * local[..., 1]
    corners: NDArray[np.float64] = np.stack([x, y, local[..., 2]], axis=-1) + values[:, None, :3]
    return corners
