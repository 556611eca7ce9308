"""Batch norm from moments: where rows stand for several samples, or are never all there at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Of the samples that a batch norm sees. sums, squares: (C,) float64, of values and squares. count: of samples."""

    sums: Tensor
    squares: Tensor
    count: float


def scale_and_shift(norm: nn.Module, moments: Moments | None) -> tuple[Tensor, Tensor]:
    """(C,) each: the norm gives `values * scale + shift`.

    Args:
        norm: a batch norm, or one with `is_shared`, whose moments are those of all processes.
        moments: of the samples; the running statistics are updated by them as torch does it. None takes the running
            statistics, and so do samples without variance: one or none.
    """
    own: Any = norm
    if moments is not None and getattr(norm, "is_shared", False):
        moments = _of_all_processes(moments)
    mean, variance = own.running_mean, own.running_var
    if moments is None or moments.count <= 1:
        mean, variance = mean.clone(), variance.clone()  # later steps change them in place
    else:
        mean = moments.sums / moments.count
        variance = (moments.squares / moments.count - mean * mean).clamp(min=0)
        _remember(own, mean.detach(), variance.detach(), moments.count)
    scale = own.weight / torch.sqrt(variance + own.eps)
    return scale.to(own.weight.dtype), (own.bias - mean * scale).to(own.weight.dtype)


def _remember(norm: Any, mean: Tensor, variance: Tensor, count: float) -> None:
    momentum = 0.1 if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.lerp_((variance * (count / (count - 1))).to(norm.running_var.dtype), momentum)
    norm.num_batches_tracked.add_(1)


def _of_all_processes(moments: Moments) -> Moments:
    own = torch.cat((moments.sums, moments.squares, moments.sums.new_tensor([moments.count])))
    together = summed(own)
    sums, squares = together[:-1].chunk(2)
    return Moments(sums=sums, squares=squares, count=float(together[-1].detach()))


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _Sum.forward(ctx, grad)


def summed(values: Tensor) -> Tensor:
    """The sum over all processes; in the backward pass each of them gets the sum of all their gradients."""
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total
