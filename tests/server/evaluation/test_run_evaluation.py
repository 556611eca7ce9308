from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from server.evaluation.run_evaluation import OVERLAPS, RunEvaluationConfig, evaluate_run
from server.training.preparation import make_detector
from server.training.run_config import EvaluationSettings
from server.training.sources import open_source
from shared_models.errors import InvalidValueError
from tests.small_runs import small_run, write_frames


def test_run_files_know_the_overlaps_that_there_are() -> None:
    assert EvaluationSettings().overlaps == OVERLAPS == RunEvaluationConfig().overlaps
    for wrong in ((), ("lax",)):
        with pytest.raises(InvalidValueError, match="expected some of strict, loose"):
            RunEvaluationConfig(overlaps=wrong)


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
