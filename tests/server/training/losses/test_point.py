from __future__ import annotations

import math

import pytest
import torch

from server.training.losses.point import point_loss


def test_values_by_hand() -> None:
    found = point_loss(torch.tensor([0.0, math.log(3), 7.0]), torch.tensor([1, 0, -1]))
    assert found.tolist() == pytest.approx([0.0625 * math.log(2), 0.75 * 0.5625 * math.log(4), 0.0])


def test_ignored_keypoints_get_no_gradient() -> None:
    logits = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([1, 0, -1])
    assert torch.autograd.gradcheck(lambda x: point_loss(x, labels), logits)
    point_loss(logits, labels).sum().backward()
    assert logits.grad[2] == 0
    assert (logits.grad[:2] != 0).all()
    assert point_loss(torch.zeros(1, dtype=torch.bfloat16), torch.ones(1)).dtype == torch.float32
