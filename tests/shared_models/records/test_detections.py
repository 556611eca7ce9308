from __future__ import annotations

from typing import Any

import pytest
import torch

from shared_models.errors import InvalidValueError
from shared_models.records import Detections


def make(**changes: Any) -> Detections:
    values: dict[str, Any] = {
        "boxes": torch.zeros(2, 7),
        "scores": torch.tensor([1.0, 0.0]),
        "labels": torch.tensor([0, 1]),
        "class_names": ("Car", "Cyclist"),
    }
    return Detections(**(values | changes))


def test_scores_reach_from_0_to_1_and_there_may_be_none() -> None:
    assert len(make()) == 2
    assert len(make(boxes=torch.zeros(0, 7), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.int64))) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": torch.tensor(1.0)}, r"boxes: expected shape \(any, 7\), got \(\)"),
        ({"boxes": torch.zeros(2, 8)}, r"boxes: expected shape \(any, 7\)"),
        ({"boxes": torch.tensor([[0.0] * 7, [0, 0, 0, torch.inf, 1, 1, 0]])}, "boxes: expected finite numbers.*inf"),
        ({"boxes": torch.full((2, 7), torch.nan)}, "boxes: expected finite numbers"),
        ({"scores": torch.ones(3)}, r"scores: expected shape \(2\)"),
        ({"scores": torch.tensor([0.5, 1.5])}, "scores: expected 0 to 1, got 1.5"),
        ({"scores": torch.tensor([-0.5, 0.5])}, "scores: expected 0 to 1, got -0.5"),
        ({"scores": torch.tensor([0.5, torch.nan])}, "scores: expected 0 to 1, got nan"),
        ({"labels": torch.tensor([0, 2])}, "labels: expected 0 to 1, got 0 to 2"),
        ({"labels": torch.tensor([0, 1], dtype=torch.int32)}, "labels: expected dtype"),
    ],
)
def test_wrong_detections_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=rf"Detections\.{message}"):
        make(**changes)
