from __future__ import annotations

import math

import pytest
import torch

from shared_models.records import Detections
from upcycle.demo.compare import SceneComparison, _difference, match, summarise


def detections(rows: list[tuple[float, float, float, float, int]]) -> Detections:
    """One box a row of (x, y, yaw, score, label)."""
    boxes = torch.tensor([[x, y, 0.0, 4.0, 2.0, 1.5, yaw] for x, y, yaw, _, _ in rows]).reshape(-1, 7)
    scores, labels = torch.tensor([row[3] for row in rows]), torch.tensor([row[4] for row in rows], dtype=torch.int64)
    return Detections(boxes=boxes, scores=scores, labels=labels, class_names=("Car", "Cyclist"))


def test_nearest_of_the_same_class_are_matched_once() -> None:
    own = detections([(0, 0, 0, 0.9, 0), (0.6, 0, 0, 0.8, 0), (30, 0, 0, 0.7, 1)])
    found = detections([(0.5, 0, 0, 0.9, 0), (30, 0, 0, 0.7, 0), (0.1, 0, 0, 0.5, 0)])
    assert sorted(match(own, found)) == [(0, 2), (1, 0)]


def test_too_far_is_another_object_and_nothing_matches_nothing() -> None:
    assert match(detections([(0, 0, 0, 0.9, 0)]), detections([(1.5, 0, 0, 0.9, 0)])) == []
    assert match(detections([]), detections([(1, 0, 0, 0.9, 0)])) == []


def test_difference_is_the_largest_of_box_turn_and_score() -> None:
    own = detections([(0, 0, math.pi - 0.01, 0.9, 0)])
    assert _difference(own, detections([(0.25, 0, math.pi - 0.01, 0.9, 0)]), 0, 0) == pytest.approx(0.25)
    assert _difference(own, detections([(0, 0, -math.pi + 0.01, 0.9, 0)]), 0, 0) == pytest.approx(0.02, abs=1e-6)
    assert _difference(own, detections([(0, 0, math.pi - 0.01, 0.4, 0)]), 0, 0) == pytest.approx(0.5)


def test_summary_by_codec_keeps_the_worst() -> None:
    def scene(codec: str, size: int, difference: float, unmatched: int) -> SceneComparison:
        return SceneComparison(
            vehicle_id="v",
            frame_id="f",
            codec=codec,
            payload_bytes=size,
            vehicle_count=3,
            server_count=3,
            matched=3 if not unmatched else 0,
            unmatched=unmatched,
            max_abs_diff=difference,
            decode_s=0.1,
            heads_s=0.2,
        )

    summary = summarise([scene("int8", 10, 0.5, 0), scene("float32", 40, 0.0, 0), scene("int8", 30, 0.25, 0)])
    assert list(summary) == ["float32", "int8"]
    assert summary["int8"]["bytes_per_frame"] == 20
    assert summary["int8"]["max_abs_diff"] == 0.5
    assert summarise([scene("int4", 1, 0.0, 6)])["int4"]["max_abs_diff"] is None
