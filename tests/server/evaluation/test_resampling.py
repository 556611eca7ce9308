"""AP on frames that are drawn anew, against the evaluation of the same frames and against counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from server.evaluation.frame_objects import evaluated_frame
from server.evaluation.objects import EvaluatedFrame
from server.evaluation.resampling import FrameScores
from shared_models.datasets.plain_labels import plain_labels
from shared_models.records import Detections, Frame

CLASSES = ("Car", "Cyclist")


def frame(number: int, is_found: bool, size_m: float = 2.0) -> EvaluatedFrame:
    """One car; the detector finds it, or something elsewhere."""
    box = np.array([[5, 1, 0, 2, 2, 2, 0]], dtype=np.float32)
    points = np.concatenate((np.repeat(box[:, :3], 9, axis=0), np.zeros((9, 1), dtype=np.float32)), axis=1)
    labelled = Frame(
        frame_id=f"frame-{number}",
        points=points,
        point_fields=("x", "y", "z", "intensity"),
        labels=plain_labels(box, ("Car",)),
    )
    found = torch.tensor([[5.0 if is_found else 25.0, 1, 0, size_m, 2, 2, 0]])
    detections = Detections(boxes=found, scores=torch.tensor([0.5]), labels=torch.tensor([0]), class_names=CLASSES)
    return evaluated_frame(labelled, detections, {}, use_camera=False, point_counts=np.array([9]))


def test_frames_count_as_often_as_they_are_drawn() -> None:
    scores = FrameScores([frame(0, True), frame(1, False)], CLASSES)
    assert len(scores) == 2
    assert scores(np.array([0, 0]))["Car"] == pytest.approx(100)
    assert scores(np.array([1, 1, 1]))["Car"] == pytest.approx(0)
    # All scores are equal: one threshold, at which two of three objects are found and one of three boxes is wrong.
    assert scores(np.array([0, 0, 1]))["Car"] == pytest.approx(100 * (2 / 3) * (2 / 3))
    assert math.isnan(scores(np.array([0, 1]))["Cyclist"])


def test_overlap_and_metric_are_those_asked_for() -> None:
    frames = [frame(0, True, size_m=3.2)]  # an overlap of 2 / 3.2: between 0.5 and 0.7
    for overlap, ap in (("strict", 0), ("loose", 100)):
        assert FrameScores(frames, CLASSES, "bev", overlap)(np.array([0]))["Car"] == pytest.approx(ap)
