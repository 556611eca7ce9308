"""Which proposals and keypoints count on a scene with an exact box (row 0) and a pseudo box (row 1)."""

from __future__ import annotations

import numpy as np
import torch

from server.training.objective import TermSelection
from server.training.objectives.counted import is_below, is_chosen, is_scored_keypoint, is_scored_roi
from server.training.samples import Truth
from server.training.targets.keypoints import KeypointTargets
from server.training.targets.rois import RoiTargets

BOXES = np.float32([[0, 0, 0, 4, 2, 2, 0], [10, 0, 0, 4, 2, 2, 0]])
TRUTH = Truth(boxes=BOXES, labels=np.zeros(2, np.int64), is_ignored=np.zeros(2, bool), is_exact=np.array([True, False]))
ROWS = torch.tensor([0, 1, -1, -1])
LOGITS = torch.tensor([9.0, -9.0, -9.0, 0.0])  # the last is background, but not sure
EXACT = TermSelection(roi_iou="exact_and_background", points="exact_and_background")
NONE = TermSelection(roi_iou="none", points="none")


def rois() -> RoiTargets:
    empty = torch.zeros(0, 7)
    return RoiTargets(
        boxes=torch.zeros(4, 7),
        logits=LOGITS,
        ious=torch.zeros(4),
        scores=torch.zeros(4),
        rows=ROWS,
        foreground=torch.zeros(0, dtype=torch.int64),
        truth_boxes=empty,
        codes=empty,
    )


def test_proposals() -> None:
    assert is_scored_roi(rois(), TRUTH, TermSelection()).all()
    assert not is_scored_roi(rois(), TRUTH, NONE).any()
    assert is_scored_roi(rois(), TRUTH, EXACT).tolist() == [True, False, True, False]


def test_keypoints() -> None:
    targets = KeypointTargets(labels=torch.tensor([1, 1, 0, 0]), rows=ROWS)
    assert is_scored_keypoint(targets, TRUTH, LOGITS, TermSelection()).all()
    assert not is_scored_keypoint(targets, TRUTH, LOGITS, NONE).any()
    assert is_scored_keypoint(targets, TRUTH, LOGITS, EXACT).tolist() == [True, False, True, False]
    ring = KeypointTargets(labels=torch.full((4,), -1), rows=ROWS)
    for terms in (TermSelection(), EXACT):
        assert not is_scored_keypoint(ring, TRUTH, LOGITS, terms).any()


def test_boxes() -> None:
    rows = torch.tensor([1, 0, 0, 1])
    assert is_chosen(rows, TRUTH, "all").tolist() == [True] * 4
    assert is_chosen(rows, TRUTH, "exact").tolist() == [False, True, True, False]
    assert is_chosen(rows, TRUTH, "none").tolist() == [False] * 4


def test_a_truth_without_boxes() -> None:
    nothing = TRUTH.chosen(np.zeros(0, np.int64))
    none = torch.zeros(0, dtype=torch.int64)
    assert is_chosen(none, nothing, "exact").shape == (0,)
    targets = KeypointTargets(labels=torch.zeros(4, dtype=torch.int64), rows=torch.full((4,), -1))
    assert is_scored_keypoint(targets, nothing, LOGITS, EXACT).tolist() == [False, True, True, False]


def test_scores_are_probabilities() -> None:
    assert is_below(torch.logit(torch.tensor([0.05, 0.09, 0.11])), 0.1).tolist() == [True, True, False]
