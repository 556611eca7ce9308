from __future__ import annotations

import pytest
import torch
from torch import nn

from shared_models.sets import moments
from shared_models.sets.moments import Moments, scale_and_shift


def make_norm() -> nn.BatchNorm1d:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(3, momentum=0.3).double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.randn(3))
    norm.running_mean = torch.randn(3).double()
    norm.running_var = torch.rand(3).double()
    return norm


def moments_of(values: torch.Tensor) -> Moments:
    return Moments(sums=values.sum(0), squares=values.square().sum(0), count=float(len(values)))


def test_two_steps_are_those_of_torch() -> None:
    norm, plain = make_norm(), make_norm()
    for seed in range(2):
        values = torch.randn((20, 3), generator=torch.Generator().manual_seed(seed)).double() + 2
        own, other = values.clone().requires_grad_(), values.clone().requires_grad_()
        scale, shift = scale_and_shift(norm, moments_of(own))
        out, expected = own * scale + shift, plain(other)
        torch.testing.assert_close(out, expected)
        out.pow(3).sum().backward()
        expected.pow(3).sum().backward()
        torch.testing.assert_close(own.grad, other.grad)
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(dict(norm.named_buffers())[name], buffer)
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(dict(norm.named_parameters())[name].grad, parameter.grad)


def test_without_moments_the_running_statistics_count() -> None:
    norm = make_norm().eval()
    values = torch.randn(4, 3).double()
    scale, shift = scale_and_shift(norm, None)
    torch.testing.assert_close(values * scale + shift, norm(values))
    assert int(norm.num_batches_tracked) == 0


def test_samples_without_variance_teach_nothing() -> None:
    norm = make_norm()
    for count in (0, 1):
        scale, shift = scale_and_shift(norm, moments_of(torch.ones(count, 3).double()))
        torch.testing.assert_close((scale, shift), scale_and_shift(norm, None))
    assert int(norm.num_batches_tracked) == 0


def test_a_shared_norm_takes_the_moments_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes with the same rows, the other one's added in place of an exchange."""
    norm, plain = make_norm(), make_norm()
    norm.is_shared = True
    monkeypatch.setattr(moments, "summed", lambda values: 2 * values)
    values = torch.randn(5, 3).double()
    scale, shift = scale_and_shift(norm, moments_of(values))
    torch.testing.assert_close(values * scale + shift, plain(torch.cat((values, values)))[:5])
    torch.testing.assert_close(norm.running_var, plain.running_var)
