"""A labelled `Frame` and the `Detections` in it as a frame to evaluate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from server.evaluation.objects import DetectedObjects, EvaluatedFrame, TruthObjects, upright_from_camera
from shared_models.datasets.kitti_export import image_boxes_of
from shared_models.datasets.kitti_labels import camera_boxes, wrap
from shared_models.errors import InvalidValueError
from shared_models.geometry.boxes import points_in_boxes_mask
from shared_models.records import CameraCalibration, Detections, Frame, ObjectLabels


def evaluated_frame(
    frame: Frame,
    detections: Detections,
    class_map: Mapping[str, str] | None = None,
    *,
    use_camera: bool = True,
    point_counts: NDArray[np.int64] | None = None,
) -> EvaluatedFrame:
    """Labels and detections of one frame, in the camera's frame turned upright, or the LiDAR's where it has none.

    class_map: from the dataset's class names to the detector's ({"Vehicle": "Car"}); other names stay as they are.
    use_camera: False compares in the LiDAR's frame even where the frame has a camera.
    point_counts: (M,) LiDAR points in each labelled box, for a frame whose points are no longer there.

    A detection's image box is the rectangle around its projected corners, clipped to the image, as OpenPCDet writes it
    to KITTI's text files. A box that the image does not show has an empty one and is ignored for being too small.

    Raises:
        InvalidValueError: the frame is unlabelled.
    """
    labels = labels_of(frame)
    camera = frame.camera if use_camera else None
    return EvaluatedFrame(
        frame_id=frame.frame_id,
        truth=_truth(labels, camera, class_map or {}, points_inside(frame) if point_counts is None else point_counts),
        detections=_detected(detections, camera),
        found=detections,
    )


def labels_of(frame: Frame) -> ObjectLabels:
    """The frame's labels.

    Raises:
        InvalidValueError: the frame is unlabelled.
    """
    if frame.labels is None:
        raise InvalidValueError(f"frame {frame.frame_id}: expected a labelled frame to evaluate, it has no labels")
    return frame.labels


def points_inside(frame: Frame) -> NDArray[np.int64]:
    """(M,) LiDAR points inside each labelled box.

    Raises:
        InvalidValueError: the frame is unlabelled.
    """
    positions = torch.from_numpy(np.ascontiguousarray(frame.points[:, :3]))
    inside = points_in_boxes_mask(positions, torch.from_numpy(labels_of(frame).boxes))
    counts: NDArray[np.int64] = inside.sum(dim=0).numpy().astype(np.int64)
    return counts


def _truth(
    labels: ObjectLabels,
    camera: CameraCalibration | None,
    class_map: Mapping[str, str],
    point_counts: NDArray[np.int64],
) -> TruthObjects:
    boxes, image_boxes, alphas = _as_seen(labels.boxes, camera)
    if camera is not None:
        # The annotator's own image boxes where there are some: they follow the object's outline, not its box's.
        drawn = labels.image_boxes.astype(np.float64)
        image_boxes = np.where(np.isfinite(drawn), drawn, image_boxes)
    return TruthObjects(
        class_names=tuple(class_map.get(name, name) for name in labels.class_names),
        boxes=boxes,
        image_boxes=image_boxes,
        alpha_rad=alphas,
        occlusion=labels.occlusion,
        truncation=labels.truncation.astype(np.float64),
        point_counts=point_counts,
        image_only_boxes=labels.image_only_boxes.astype(np.float64),
    )


def _detected(detections: Detections, camera: CameraCalibration | None) -> DetectedObjects:
    boxes, image_boxes, alphas = _as_seen(detections.boxes.detach().cpu().numpy().astype(np.float32), camera)
    return DetectedObjects(
        class_names=tuple(detections.class_names[label] for label in detections.labels.tolist()),
        boxes=boxes,
        image_boxes=image_boxes,
        alpha_rad=alphas,
        scores=detections.scores.detach().cpu().numpy().astype(np.float64),
    )


def _as_seen(
    boxes: NDArray[np.float32], camera: CameraCalibration | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(M, 7) upright boxes, (M, 4) image boxes and (M,) angles to the camera of (M, 7) boxes in the LiDAR frame."""
    if camera is None:
        return boxes.astype(np.float64), np.full((len(boxes), 4), np.nan), np.full(len(boxes), np.nan)
    bottoms, sizes, rotations = camera_boxes(boxes, camera)
    image_boxes, is_visible = image_boxes_of(boxes, camera)
    alphas = wrap(rotations - np.arctan2(bottoms[:, 0], bottoms[:, 2]))
    return upright_from_camera(bottoms, sizes, rotations), np.where(is_visible[:, None], image_boxes, 0.0), alphas
