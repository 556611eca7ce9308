from __future__ import annotations

import pytest
import torch

from shared_models.heads.proposals import ProposalConfig, SelectionConfig, propose, select

BOXES = torch.tensor(
    [[0.0, 0, 0, 4, 2, 1.5, 0], [0.1, 0, 0, 4, 2, 1.5, 0], [20.0, 0, 0, 4, 2, 1.5, 0], [40.0, 0, 0, 4, 2, 1.5, 0]]
)


def test_propose_keeps_the_best_class_and_drops_overlaps() -> None:
    logits = torch.tensor([[-1.0, 2.0], [3.0, -1.0], [0.0, 0.5], [-4.0, -5.0]])
    found = propose(BOXES, logits, ProposalConfig(pre_max=3, post_max=2, iou_threshold=0.5))
    assert found.boxes.tolist() == BOXES[[1, 2]].tolist()
    assert found.labels.tolist() == [0, 1]
    assert found.logits.tolist() == [3.0, 0.5]


def test_select_applies_the_score_threshold_first() -> None:
    scores, labels = torch.tensor([0.05, 0.2, 0.9, 0.1]), torch.tensor([0, 1, 0, 1])
    found = select(BOXES, scores, labels, ("Car", "Cyclist"), SelectionConfig())
    assert found.boxes.tolist() == BOXES[[2, 1, 3]].tolist()
    assert found.labels.tolist() == [0, 1, 1]


def test_nothing_to_select() -> None:
    empty = select(torch.zeros(0, 7), torch.zeros(0), torch.zeros(0, dtype=torch.int64), ("Car",), SelectionConfig())
    assert len(empty) == 0


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_dropped(wrong: float) -> None:
    boxes = BOXES.clone()
    boxes[0, 3] = wrong
    logits = torch.tensor([[5.0, 2.0], [wrong, wrong], [0.0, 0.5], [-4.0, -5.0]])
    found = propose(boxes, logits, ProposalConfig())
    assert found.boxes.tolist() == BOXES[[2, 3]].tolist()
    assert propose(boxes[:1], logits[:1], ProposalConfig()).boxes.shape == (0, 7)
    scores, labels = torch.tensor([0.9, wrong, 0.8, 0.7]), torch.zeros(4, dtype=torch.int64)
    assert select(boxes, scores, labels, ("Car",), SelectionConfig()).boxes.tolist() == BOXES[[2, 3]].tolist()


def test_unusable_boxes_take_no_place_from_usable_ones() -> None:
    boxes = torch.cat((BOXES[:1].expand(5, 7) * float("nan"), BOXES[2:]))
    logits = torch.cat((torch.full((5, 1), 9.0), torch.tensor([[0.5], [-4.0]])))
    assert propose(boxes, logits, ProposalConfig(pre_max=2)).boxes.tolist() == BOXES[2:].tolist()


def test_boxes_without_size_are_dropped() -> None:
    boxes = torch.tensor([[0.0, 0, 0, 4, 2, 1.5, 0], [10, 0, 0, 0, 2, 1.5, 0], [20, 0, 0, 4, 2, 1.5, 0]])
    scores = torch.tensor([0.5, 0.9, 0.7])
    kept = select(boxes, scores, torch.zeros(3, dtype=torch.int64), ("Car",), SelectionConfig())
    assert kept.boxes[:, 0].tolist() == [20, 0]
    found = propose(boxes, torch.tensor([[0.5], [0.9], [0.7]]), ProposalConfig())
    assert found.boxes[:, 0].tolist() == [20, 0]
