from __future__ import annotations

import math

import pytest
import torch

from server.training.losses.direction import direction_loss


def test_values_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [math.log(3), 0.0]])
    found = direction_loss(logits, torch.tensor([0, 0, 1]))
    assert found.tolist() == pytest.approx([math.log(2), math.log(4 / 3), math.log(4)])


def test_gradient_precision_and_no_boxes() -> None:
    logits = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: direction_loss(x, torch.tensor([0, 1, 1, 0, 1])), logits)
    assert direction_loss(torch.zeros(1, 2, dtype=torch.bfloat16), torch.tensor([0])).dtype == torch.float32
    assert direction_loss(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)).shape == (0,)
