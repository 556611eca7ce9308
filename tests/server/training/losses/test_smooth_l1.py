from __future__ import annotations

import pytest
import torch

from server.training.losses.smooth_l1 import smooth_l1_loss


def test_values_by_hand() -> None:
    # beta = 1/9: 4.5 d^2 below a ninth, |d| - 1/18 above.
    found = smooth_l1_loss(torch.tensor([0.0, 0.1, -1 / 9, 0.5, -2.0]), torch.zeros(5))
    assert found.tolist() == pytest.approx([0, 0.045, 1 / 18, 0.5 - 1 / 18, 2 - 1 / 18], abs=1e-6)
    assert smooth_l1_loss(torch.tensor([3.0]), torch.tensor([1.5]), beta=1.0).tolist() == pytest.approx([1.0])


def test_gradient_and_precision() -> None:
    values = torch.tensor([-1.0, -0.05, 0.04, 0.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: smooth_l1_loss(x, torch.zeros_like(x)), values)
    assert smooth_l1_loss(torch.zeros(1, dtype=torch.bfloat16), torch.zeros(1)).dtype == torch.float32
