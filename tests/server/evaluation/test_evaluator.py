"""A detector that knows the answers, and a real one, over small datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from server.evaluation.evaluator import evaluate_detector, run_detector
from shared_models import detectors
from shared_models.dataset import Dataset
from shared_models.datasets import open_dataset
from shared_models.datasets.plain_labels import plain_labels
from shared_models.detector import Detector
from shared_models.errors import InvalidValueError
from shared_models.records import Detections, Frame
from tests.conftest import MakeKitti


class KnowingDetector(Detector):
    """Finds the boxes it was given, whatever the scan; remembers what it was asked."""

    name = "knowing"
    vehicle_parts = ("first",)

    def __init__(self, boxes: list[list[float]]) -> None:
        super().__init__(None)
        self.first, self.second = nn.Linear(1, 1), nn.Linear(1, 1)
        self.boxes, self.seen = boxes, list[tuple[int, bool, bool]]()

    class_names = ("Car",)  # type: ignore[assignment]
    point_fields = ("x", "y", "z", "intensity")  # type: ignore[assignment]

    def vehicle_config(self) -> dict[str, Any]:
        return {}

    def extract(self, points: Tensor) -> Any:
        self.seen.append((len(points), self.training, torch.is_inference_mode_enabled()))
        return points

    def detect_batch(self, scenes: Sequence[Any]) -> list[Detections]:
        count = len(self.boxes)
        return [
            Detections(
                boxes=torch.tensor(self.boxes, dtype=torch.float32).reshape(count, 7),
                scores=torch.full((count,), 0.5),
                labels=torch.zeros(count, dtype=torch.int64),
                class_names=("Car",),
            )
            for _ in scenes
        ]


class ListDataset(Dataset):
    def __init__(self, frames: list[Frame]) -> None:
        self.frames = {frame.frame_id: frame for frame in frames}

    @classmethod
    def open(cls, root: Path, split: str = "all") -> Any:
        raise NotImplementedError

    @property
    def frame_ids(self) -> tuple[str, ...]:
        return tuple(self.frames)

    def frame(self, frame_id: str) -> Frame:
        return self.frames[frame_id]


CAR = [12.0, 0.0, -0.8, 4.0, 2.0, 1.6, 0.0]


def plain_frame(name: str, class_name: str, **changes: Any) -> Frame:
    """Without a camera: one box with ten points in it."""
    points = np.tile(np.array([12, 0, -0.8, 0.5], dtype=np.float32), (10, 1))
    labels = plain_labels(np.array([CAR], dtype=np.float32), [class_name])
    return replace(Frame(frame_id=name, points=points, labels=labels), **changes)


def test_who_knows_the_answers_has_full_marks(make_kitti: MakeKitti) -> None:
    dataset = open_dataset("kitti", make_kitti(), "training")
    detector, seen = KnowingDetector([CAR]), []
    report = evaluate_detector(detector, dataset, progress=lambda *counts: seen.append(counts))
    assert report.to_dict()["ap_all"]["car"]["3d"] == [100, 100, 100]
    assert report.to_dict()["objects"]["car"] == [2, 2, 2]
    assert seen == [(1, 2), (2, 2)]
    # The points are those that the dataset gives: what the camera sees.
    assert [count for count, _, _ in detector.seen] == [len(frame.points) for frame in dataset]
    assert {(training, inference) for _, training, inference in detector.seen} == {(False, True)}


def test_each_part_of_the_detector_is_in_its_own_mode_afterwards(make_kitti: MakeKitti) -> None:
    detector = KnowingDetector([])
    detector.train()
    detector.first.eval()
    run_detector(detector, open_dataset("kitti", make_kitti(), "training"))
    assert (detector.training, detector.first.training, detector.second.training) == (True, False, True)


def test_a_dataset_without_image_boxes_is_scored_without_a_camera(make_kitti: MakeKitti) -> None:
    camera = open_dataset("kitti", make_kitti()).frame("training-000000").camera
    frames = [plain_frame("a", "Vehicle"), plain_frame("b", "Vehicle", camera=camera)]
    report = evaluate_detector(KnowingDetector([CAR]), ListDataset(frames), class_map={"Vehicle": "Car"})
    assert report.to_dict()["objects"] == {"car": [2]}
    assert report.to_dict()["ap_all"]["car"]["3d"] == [100]
    unmapped = evaluate_detector(KnowingDetector([CAR]), ListDataset(frames))
    assert unmapped.to_dict()["objects"] == {"car": [0]}


def test_chosen_frames_only() -> None:
    frames = [plain_frame("a", "Car"), plain_frame("b", "Car")]
    (made,) = run_detector(KnowingDetector([CAR]), ListDataset(frames), ["b"])
    assert made.frame_id == "b"
    assert made.truth.point_counts.tolist() == [10]


def test_an_unlabelled_frame_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="frame a: expected a labelled frame"):
        run_detector(KnowingDetector([]), ListDataset([plain_frame("a", "Car", labels=None)]))


def test_a_real_detector_and_an_empty_scan(make_kitti: MakeKitti) -> None:
    dataset = open_dataset("kitti", make_kitti(), "training")
    empty = replace(dataset.frame("training-000001"), points=np.empty((0, 4), dtype=np.float32))
    frames = [dataset.frame("training-000000"), empty]
    detector = detectors.build("second_iou", "tiny", seed=0)
    report = evaluate_detector(detector, ListDataset(frames)).to_dict()
    assert report["frames"] == 2
    assert report["objects"]["car"] == [2, 2, 2]
    assert report["ap_all"].keys() == {name.casefold() for name in detector.class_names}
