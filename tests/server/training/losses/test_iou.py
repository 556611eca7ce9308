from __future__ import annotations

import math

import pytest
import torch

from server.training.losses.iou import iou_loss


def test_values_by_hand() -> None:
    # p = 3/4 against 1, 0 and 1/2; p = 1/2 against anything.
    logits = torch.tensor([math.log(3)] * 3 + [0.0])
    found = iou_loss(logits, torch.tensor([1.0, 0.0, 0.5, 0.3]))
    half = 0.5 * math.log(4 / 3) + 0.5 * math.log(4)
    assert found.tolist() == pytest.approx([math.log(4 / 3), math.log(4), half, math.log(2)])


def test_gradient_and_precision() -> None:
    logits = torch.tensor([-2.0, 0.1, 3.0], dtype=torch.float64, requires_grad=True)
    wanted = torch.tensor([0.2, 1.0, 0.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: iou_loss(x, wanted), logits)
    iou_loss(logits, wanted).sum().backward()
    torch.testing.assert_close(logits.grad, torch.sigmoid(logits) - wanted)  # least where the score is the IoU
    assert iou_loss(torch.zeros(1, dtype=torch.bfloat16), torch.ones(1)).dtype == torch.float32
