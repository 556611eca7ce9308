from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from server.evaluation.run_evaluation import (
    OVERLAPS,
    RunEvaluationConfig,
    evaluate_run,
    suited_waymo_config,
)
from server.training.preparation import make_detector
from server.training.run_config import EvaluationSettings
from server.training.sources import open_source
from shared_models.dataset import Dataset
from shared_models.datasets.plain_labels import plain_labels
from shared_models.detector import Detector
from shared_models.errors import InvalidValueError
from shared_models.records import Detections, Frame
from tests.small_runs import small_run, write_frames


def test_run_files_know_the_overlaps_that_there_are() -> None:
    assert EvaluationSettings().overlaps == OVERLAPS == RunEvaluationConfig().overlaps
    for wrong in ((), ("lax",)):
        with pytest.raises(InvalidValueError, match="expected some of strict, loose"):
            RunEvaluationConfig(overlaps=wrong)


def test_rules_are_kitti_and_also_waymo() -> None:
    assert EvaluationSettings().rules == RunEvaluationConfig().rules == ("kitti",)
    for cls in (EvaluationSettings, RunEvaluationConfig):
        assert cls(rules=("kitti", "waymo")).rules == ("kitti", "waymo")
        for wrong in ((), ("waymo",)):
            with pytest.raises(InvalidValueError, match="expected kitti, or kitti and waymo"):
                cls(rules=wrong)
    with pytest.raises(InvalidValueError, match="got \\('kitti', 'coco'\\)"):
        RunEvaluationConfig(rules=("kitti", "coco"))


def test_a_detectors_classes_have_waymos_overlaps() -> None:
    rules = suited_waymo_config(("Car", "Vehicle", "pedestrian", "Cyclist")).classes
    assert [rule.min_iou for rule in rules] == [0.7, 0.7, 0.5, 0.5]


class Knowing(Detector):
    """Finds one car where it is, facing 90 degrees off, and less surely one that is not there."""

    name = "knowing"
    vehicle_parts = ("first",)
    class_names = ("Car", "Cyclist")  # type: ignore[assignment]
    point_fields = ("x", "y", "z", "intensity")  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(None)
        self.first = torch.nn.Linear(1, 1)

    def vehicle_config(self) -> dict[str, Any]:
        return {}

    def extract(self, points: torch.Tensor) -> Any:
        return points

    def detect_batch(self, scenes: Sequence[Any]) -> list[Detections]:
        found = Detections(
            boxes=torch.tensor([[5, 1, 0, 2, 2, 2, math.pi / 2], [25, 1, 0, 2, 2, 2, 0]]),
            scores=torch.tensor([0.9, 0.5]),
            labels=torch.tensor([0, 0]),
            class_names=self.class_names,
        )
        return [found for _ in scenes]


class MadeUp(Dataset):
    """One scan: a car with ten points where the detector says, one with three that it misses."""

    frame_ids = ("one",)  # type: ignore[assignment]

    @classmethod
    def open(cls, root: Path, split: str = "all") -> MadeUp:
        raise NotImplementedError

    def frame(self, frame_id: str) -> Frame:
        boxes = np.array([[5, 1, 0, 2, 2, 2, 0], [15, 1, 0, 2, 2, 2, 0]], dtype=np.float32)
        points = np.repeat(boxes[:, :3], (10, 3), axis=0)
        return Frame(
            frame_id=frame_id,
            points=np.concatenate((points, np.zeros((13, 1), dtype=np.float32)), axis=1),
            point_fields=("x", "y", "z", "intensity"),
            labels=plain_labels(boxes, ("Vehicle", "Vehicle")),
        )


def test_waymos_rules_by_hand() -> None:
    """LEVEL_1: the one object with more than 5 points is found first: 100. LEVEL_2: one of two: 50.

    The heading is 90 degrees off, so APH is half of AP.
    """
    config = RunEvaluationConfig(overlaps=("strict",), rules=("kitti", "waymo"))
    found = evaluate_run(Knowing(), MadeUp(), ("one",), {"Vehicle": "Car"}, config)
    report = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert report.keys() == {"frames", "strict", "waymo"}
    assert report["waymo"]["car"]["level_1"] == {"ap": pytest.approx(100), "aph": pytest.approx(50), "objects": 1}
    assert report["waymo"]["car"]["level_2"] == {"ap": pytest.approx(50), "aph": pytest.approx(25), "objects": 2}
    assert report["waymo"]["cyclist"]["level_1"] == {"ap": None, "aph": None, "objects": 0}
    numbers = {name: value for name, value in found.numbers().items() if name.startswith("waymo/")}
    assert numbers == {
        "waymo/level_1/car/ap": pytest.approx(100),
        "waymo/level_1/car/aph": pytest.approx(50),
        "waymo/level_2/car/ap": pytest.approx(50),
        "waymo/level_2/car/aph": pytest.approx(25),
    }
    assert "ap_all/strict/car/3d/all" in found.numbers()


def test_numbers_are_those_of_the_reports(tmp_path: Path) -> None:
    run = small_run(write_frames(tmp_path / "kitti", 2))
    detector = make_detector(run.detector, 0).eval()
    source = open_source(run.data.labelled)
    with torch.no_grad():
        found = evaluate_run(detector, source.dataset, source.frame_ids, {}, RunEvaluationConfig())
    report = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert report.keys() == {"frames", "strict", "loose"}
    assert report["frames"] == 2
    assert report["strict"]["min_iou"]["car"]["3d"] == 0.7
    assert report["loose"]["min_iou"]["car"]["3d"] == 0.5
    numbers = found.numbers()
    assert numbers.keys() >= {"ap_all/strict/car/3d/moderate", "ap_all/loose/car/bev/easy"}
    for name, value in numbers.items():
        ap, overlap, class_name, metric, difficulty = name.split("/")
        place = report[overlap]["difficulties"].index(difficulty)
        assert report[overlap][ap][class_name][metric][place] == value
