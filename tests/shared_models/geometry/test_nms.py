from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.geometry import nms as nms_module
from shared_models.geometry.iou import iou_bev
from shared_models.geometry.nms import nms_bev


def _slow_nms(iou: Tensor, scores: Tensor, threshold: float, pre_max: int | None, post_max: int | None) -> list[int]:
    """The greedy loop over a given IoU matrix."""
    ranked = sorted(range(len(scores)), key=lambda k: (-float(scores[k]), k))[:pre_max]
    kept: list[int] = []
    for candidate in ranked:
        if all(float(iou[better, candidate]) <= threshold for better in kept):
            kept.append(candidate)
    return kept[:post_max]


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.1, 0.5, 0.7, 0.85, 1.0])
@pytest.mark.parametrize(("pre_max", "post_max"), [(None, None), (250, None), (None, 20), (200, 50), (0, 5), (5, 0)])
def test_equals_the_greedy_loop(
    threshold: float, pre_max: int | None, post_max: int | None, random_boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nms_module, "_BLOCK_CPU", 64)  # several blocks
    boxes = random_boxes(300, 1, 12.0)
    boxes[100:200] = boxes[:100] + 0.05 * random_boxes(100, 2)  # clusters, as a detection head gives them
    scores = torch.rand(300, generator=torch.Generator().manual_seed(3)).mul(50).round()  # with ties
    expected = _slow_nms(iou_bev(boxes.double(), boxes.double()), scores, threshold, pre_max, post_max)
    assert nms_bev(boxes, scores, threshold, pre_max, post_max).tolist() == expected


def test_equals_the_greedy_loop_over_clipped_polygons(random_boxes, slow_iou) -> None:
    boxes, scores = random_boxes(60, 4), torch.rand(60, generator=torch.Generator().manual_seed(5))
    expected = _slow_nms(slow_iou(boxes, boxes, False), scores, 0.3, None, None)
    assert nms_bev(boxes, scores, 0.3).tolist() == expected
    assert 5 < len(expected) < 60


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8), st.integers(0, 3)), max_size=30),
    st.sampled_from([0.0, 0.2, 1 / 3, 0.5, 0.75, 1.0]),
)
def test_chains_and_thresholds_met_exactly(rows: list[tuple[int, int, int]], threshold: float) -> None:
    # On a line with whole lengths many IoUs equal a threshold, and chains of boxes suppress one another in turn.
    boxes = torch.tensor([[x, 0, 0, length, 1, 1, 0] for x, length, _ in rows], dtype=torch.float64).reshape(-1, 7)
    scores = torch.tensor([score for *_, score in rows], dtype=torch.float32)
    expected = _slow_nms(iou_bev(boxes, boxes), scores, threshold, None, None)
    assert nms_bev(boxes, scores, threshold).tolist() == expected


def test_a_suppressed_box_suppresses_nothing() -> None:
    boxes = torch.tensor([[float(x), 0, 0, 2, 1, 1, 0] for x in range(5)])  # each overlaps the next by a third
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5])
    assert nms_bev(boxes, scores, 0.3).tolist() == [0, 2, 4]
    assert nms_bev(boxes, scores, 0.34).tolist() == [0, 1, 2, 3, 4]


def test_equal_scores_keep_the_lower_index(random_boxes) -> None:
    boxes = random_boxes(1).repeat(600, 1)
    assert nms_bev(boxes, torch.zeros(600), 0.5).tolist() == [0]
    assert nms_bev(boxes, torch.zeros(600), 1.0, post_max=3).tolist() == [0, 1, 2]


def test_wild_boxes_are_kept_and_do_no_harm(random_boxes) -> None:
    boxes = random_boxes(6, 1, 100.0)
    boxes[1, 3], boxes[2, 0], boxes[3, 3:6] = torch.inf, torch.nan, 0
    assert sorted(nms_bev(boxes, torch.rand(6), 0.1).tolist()) == [0, 1, 2, 3, 4, 5]


def test_no_boxes() -> None:
    kept = nms_bev(torch.zeros(0, 7), torch.zeros(0), 0.5, 100, 10)
    assert kept.shape == (0,)
    assert kept.dtype == torch.int64


@pytest.mark.parametrize(
    ("boxes", "scores", "threshold", "limits", "message"),
    [
        ((3, 6), 3, 0.5, (None, None), "got torch.float32 of shape"),
        ((3, 7), 2, 0.5, (None, None), r"got \(3, 7\) and \(2,\)"),
        ((3, 7), 3, 1.5, (None, None), "iou_threshold: expected 0 to 1, got 1.5"),
        ((3, 7), 3, float("nan"), (None, None), "iou_threshold"),
        ((3, 7), 3, 0.5, (-1, None), "pre_max: expected 0 or more, got -1"),
        ((3, 7), 3, 0.5, (None, -2), "post_max: expected 0 or more, got -2"),
    ],
)
def test_wrong_input_is_refused(
    boxes: tuple[int, int], scores: int, threshold: float, limits: tuple[int | None, int | None], message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        nms_bev(torch.zeros(boxes), torch.zeros(scores), threshold, *limits)
