from __future__ import annotations

import math

import pytest
import torch

from server.training.losses.box_code import box_code_loss, sine_pair


def test_values_by_hand() -> None:
    codes = torch.tensor([[1.0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, math.pi / 6], [0, 0, 0.1, 0, 0, 0, math.pi]])
    # 1 - 1/18; sin 30 degrees - 1/18; 4.5 * 0.01, and a half turn costs nothing.
    expected = [1 - 1 / 18, 0.5 - 1 / 18, 0.045]
    assert box_code_loss(codes, torch.zeros(3, 7)).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_pair_differs_by_the_sine_of_the_error_and_leaves_the_rest() -> None:
    a, b = torch.randn(2, 20, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one, other = sine_pair(a, b)
    torch.testing.assert_close(one[:, 6] - other[:, 6], torch.sin(a[:, 6] - b[:, 6]))
    assert torch.equal(one[:, :6], a[:, :6])
    assert torch.equal(other[:, :6], b[:, :6])


def test_gradient_and_no_boxes() -> None:
    codes, targets = torch.randn(2, 4, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: box_code_loss(x, targets), codes.requires_grad_())
    assert box_code_loss(torch.zeros(0, 7), torch.zeros(0, 7)).shape == (0,)
    assert box_code_loss(torch.zeros(1, 7, dtype=torch.bfloat16), torch.zeros(1, 7)).dtype == torch.float32
