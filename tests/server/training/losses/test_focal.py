from __future__ import annotations

import math

import pytest
import torch

from server.training.losses.focal import focal_loss


def test_values_by_hand() -> None:
    # p = 1/2 and p = 3/4 (logit ln 3): alpha_t (1 - p_t)^2 (-ln p_t).
    logits = torch.tensor([0.0, 0.0, math.log(3), math.log(3)])
    targets = torch.tensor([1.0, 0.0, 1.0, 0.0])
    expected = [
        0.25 * 0.25 * math.log(2),
        0.75 * 0.25 * math.log(2),
        0.25 * 0.0625 * math.log(4 / 3),
        0.75 * 0.5625 * math.log(4),
    ]
    assert focal_loss(logits, targets).tolist() == pytest.approx(expected, rel=1e-5)
    assert focal_loss(logits, targets.bool()).tolist() == pytest.approx(expected, rel=1e-5)


def test_without_focus_it_is_half_the_cross_entropy() -> None:
    logits, targets = torch.randn(50, generator=torch.Generator().manual_seed(0)) * 4, torch.arange(50.0) % 2
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    torch.testing.assert_close(focal_loss(logits, targets, alpha=0.5, gamma=0.0), entropy / 2)


def test_gradient() -> None:
    logits = torch.tensor([-3.0, -0.2, 0.4, 5.0], dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, targets), logits)


def test_large_logits_stay_finite_and_short_ones_are_widened() -> None:
    logits = torch.tensor([-1e4, 1e4, -1e4, 1e4], requires_grad=True)
    losses = focal_loss(logits, torch.tensor([0.0, 1.0, 1.0, 0.0]))
    assert losses.tolist() == pytest.approx([0, 0, 2500, 7500])
    losses.sum().backward()
    assert logits.grad.tolist() == pytest.approx([0, 0, -0.25, 0.75])
    assert focal_loss(torch.zeros(2, dtype=torch.bfloat16), torch.ones(2)).dtype == torch.float32
