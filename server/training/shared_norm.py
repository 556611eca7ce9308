"""Batch norm over the samples of all processes, so that two with half a batch each learn what one with all would.

torch's SyncBatchNorm does the same but on GPUs only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm


class SharedBatchNorm(nn.Module):
    """Wraps a batch norm: the same parameters and statistics under the same names, moments over all processes.

    is_shared: always true; see `SparseBlock`.
    Takes (N, C) or (N, C, ...); N may differ between processes, and be 0 in some. Every process must call it equally
    often, forward and backward. Where all have a single row together, which has no variance, or none, it normalises by
    what was learned so far and learns nothing.
    """

    is_shared = True

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self.eps, self.momentum = norm.eps, 0.1 if norm.momentum is None else norm.momentum
        self.weight, self.bias = norm.weight, norm.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        self.train(norm.training)

    def forward(self, features: Tensor) -> Tensor:
        """Normalised `features`, of the same shape and dtype."""
        if not self.training:
            return nn.functional.batch_norm(
                features, self._buffer("running_mean"), self._buffer("running_var"), self.weight, self.bias,
                eps=self.eps,
            )  # fmt: skip
        mean, variance = self._moments(features)
        shape = [1, features.shape[1], *[1] * (features.dim() - 2)]
        scale = (self.weight / torch.sqrt(variance + self.eps)).view(shape)
        return ((features.float() - mean.view(shape)) * scale + self.bias.view(shape)).to(features.dtype)

    def _moments(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance (C,) over all processes, remembered in the running statistics."""
        axes = [axis for axis in range(features.dim()) if axis != 1]
        shape = [1, features.shape[1], *[1] * (features.dim() - 2)]
        values = features.float()
        own = values.new_tensor([values.numel() / features.shape[1]])
        sums = summed(torch.cat((values.sum(axes), own)))
        count = sums[-1].detach()
        mean = sums[:-1] / count.clamp(min=1)
        # About the mean of all, in a second exchange: mean squares lose digits where the mean is far from 0.
        variance = summed((values - mean.view(shape)).square().sum(axes)) / count.clamp(min=1)
        self._remember(mean.detach(), variance.detach(), count)
        has_variance = count > 1
        past = self._buffer("running_mean").clone(), self._buffer("running_var").clone()
        return torch.where(has_variance, mean, past[0]), torch.where(has_variance, variance, past[1])

    def _buffer(self, name: str) -> Tensor:
        buffer = getattr(self, name)
        assert isinstance(buffer, Tensor)
        return buffer

    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        has_variance = count > 1
        share = self.momentum * has_variance
        unbiased = variance * (count / (count - 1).clamp(min=1))
        self._buffer("running_mean").lerp_(mean, share)
        self._buffer("running_var").lerp_(unbiased, share)
        self._buffer("num_batches_tracked").add_(has_variance.long())


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
    total: Tensor = _Sum.apply(values)
    return total


def share_batch_norm(module: nn.Module) -> nn.Module:
    """`module` with every batch norm inside shared between the processes; nothing changes with one process."""
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return module
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, SharedBatchNorm(child))
        else:
            share_batch_norm(child)
    return module
