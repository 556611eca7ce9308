"""Runs a detector over labelled frames and scores what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from server.evaluation.frame_objects import evaluated_frame, labels_of, points_inside
from server.evaluation.kitti import evaluate_kitti
from server.evaluation.kitti_config import ClassRule, KittiEvaluationConfig
from server.evaluation.kitti_report import KittiReport
from server.evaluation.objects import EvaluatedFrame
from shared_models.dataset import Dataset
from shared_models.detector import Detector
from shared_models.records import Detections, Frame, SceneFeatures

Progress = Callable[[int, int], None]
Change = Callable[[SceneFeatures, str], SceneFeatures]  # of a frame's features, by its id


def run_detector(
    detector: Detector,
    dataset: Dataset,
    frame_ids: Sequence[str] | None = None,
    class_map: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    use_camera: bool | None = None,
    change: Change | None = None,
) -> list[EvaluatedFrame]:
    """Labels and detections of each frame, one scan at a time, on the detector's device.

    dataset: gives the points that the detector gets: KITTI's reader cuts them to what the camera sees unless it is told
        otherwise.
    frame_ids: of the dataset; all of them without.
    class_map: from the dataset's class names to the detector's, {"Vehicle": "Car"}.
    progress: called with the frames done and their number after each.
    use_camera: compare in the camera's frame, as KITTI does; without a word, where any label has an image box.
    change: what is done to the features before anything is looked for in them; None: nothing.

    The detector is in evaluation mode meanwhile; afterwards each of its parts is in its own mode again.

    Raises:
        InvalidValueError: a frame is unlabelled, or lacks a point field that the detector needs.
        NotFoundError, DatasetError: a frame cannot be read.
    """
    chosen = dataset.frame_ids if frame_ids is None else tuple(frame_ids)
    done: list[tuple[Frame, NDArray[np.int64], Detections]] = []
    with _evaluating(detector):
        for frame_id in chosen:
            frame = dataset.frame(frame_id)
            counts = points_inside(frame)
            done.append((_without_points(frame), counts, detect(detector, frame, change)))
            if progress is not None:
                progress(len(done), len(chosen))
    if use_camera is None:
        use_camera = any(np.isfinite(labels_of(frame).image_boxes).any() for frame, _, _ in done)
    return [
        evaluated_frame(frame, found, class_map, use_camera=use_camera, point_counts=counts)
        for frame, counts, found in done
    ]


def detect(detector: Detector, frame: Frame, change: Change | None = None) -> Detections:
    """What the detector finds in one scan, on the CPU. change: as of `run_detector`."""
    device = next(detector.parameters()).device
    with torch.inference_mode():
        points = torch.from_numpy(frame.columns(detector.point_fields)).to(device)
        features = detector.extract(points)
        found = detector.detect(features if change is None else change(features, frame.frame_id))
        return Detections(
            boxes=found.boxes.cpu(),
            scores=found.scores.cpu(),
            labels=found.labels.cpu(),
            class_names=found.class_names,
        )


def evaluate_detector(
    detector: Detector,
    dataset: Dataset,
    frame_ids: Sequence[str] | None = None,
    class_map: Mapping[str, str] | None = None,
    config: KittiEvaluationConfig | None = None,
    progress: Progress | None = None,
) -> KittiReport:
    """As `run_detector`, scored by KITTI's rules; without `config`, by `suited_config`."""
    frames = run_detector(detector, dataset, frame_ids, class_map, progress)
    return evaluate_kitti(frames, config or suited_config(frames, detector.class_names))


def suited_config(frames: Sequence[EvaluatedFrame], class_names: Sequence[str]) -> KittiEvaluationConfig:
    """KITTI's difficulties where every frame has image boxes, else every object that a LiDAR point hits.

    class_names: the detector's; those that KITTI knows have KITTI's overlaps and neighbours, others a car's overlap.
    """
    known = {rule.name.casefold(): rule for rule in KittiEvaluationConfig().classes}
    classes = tuple(known.get(name.casefold(), ClassRule(name=name)) for name in class_names)
    if all(frame.has_image_boxes for frame in frames):
        return KittiEvaluationConfig(classes=classes)
    return KittiEvaluationConfig.without_camera(classes)


def _without_points(frame: Frame) -> Frame:
    """Labels and calibration only: the points of thousands of frames do not fit into memory."""
    return Frame(
        frame_id=frame.frame_id,
        points=frame.points[:0].copy(),
        point_fields=frame.point_fields,
        labels=frame.labels,
        camera=frame.camera,
    )


@contextmanager
def _evaluating(detector: Detector) -> Iterator[None]:
    modes = [(module, module.training) for module in detector.modules()]  # parts may be frozen while others train
    detector.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training
