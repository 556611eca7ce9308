from __future__ import annotations

import math

import torch

from shared_models.heads.anchor_head import AnchorHead, AnchorHeadConfig, AnchorPredictions
from shared_models.heads.anchors import AnchorClass, make_anchors

RANGE = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)


def test_anchors_are_ordered_by_y_x_class_rotation_and_span_the_range() -> None:
    classes = AnchorHeadConfig().classes
    anchors = make_anchors(classes, RANGE, (200, 176)).view(200, 176, 6, 7)
    assert anchors[0, 0, 0].tolist() == torch.tensor([0, -40, -1.78 + 0.78, 3.9, 1.6, 1.56, 0]).tolist()
    torch.testing.assert_close(anchors[199, 175, 5], torch.tensor([70.4, 40, -0.6 + 0.865, 1.76, 0.6, 1.73, 1.57]))
    # Cells are spread over the range, borders included: 70.4 m in 175 steps.
    torch.testing.assert_close(anchors[3, 1, 2, 0], torch.tensor(70.4 / 175))
    torch.testing.assert_close(anchors[1, 0, 0, 1], torch.tensor(-40 + 80 / 199))


def test_heading_comes_from_the_direction_bin() -> None:
    config = AnchorHeadConfig(classes=(AnchorClass(yaws_rad=(0.0,)),))
    head = AnchorHead(4, config, RANGE, (2, 2))
    codes = torch.zeros(1, 2, 2, 7)
    codes[0, 0, 0, 6], codes[0, 0, 1, 6] = 0.1, 0.9  # below and above the first bin's border at 0.78539
    directions = torch.zeros(1, 2, 2, 2)
    directions[0, 1, 0, 1] = 1.0
    predictions = AnchorPredictions(class_logits=torch.zeros(1, 2, 2, 1), box_codes=codes, direction_logits=directions)
    yaws = head.decode(predictions)[0, :, 6]
    torch.testing.assert_close(yaws, torch.tensor([0.1 + math.pi, 0.9, math.pi + math.pi, math.pi]))


def test_first_scores_are_the_prior() -> None:
    head = AnchorHead(4, AnchorHeadConfig(), RANGE, (3, 3))
    with torch.no_grad():
        scores = torch.sigmoid(head.class_logits(head(torch.zeros(2, 4, 3, 3))))
    assert scores.shape == (2, 54, 3)
    torch.testing.assert_close(scores, torch.full_like(scores, 0.01))
