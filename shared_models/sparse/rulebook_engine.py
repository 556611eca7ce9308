"""Sparse convolution in plain torch: per kernel offset gather the input rows, multiply, add to the output rows.

Exact and differentiable. The same bits on every run: within one offset no row occurs twice, so no two additions ever
meet, and offsets are added in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from shared_models.precision import full_precision
from shared_models.sparse.engine import Plan, SparseEngine, check_convolution
from shared_models.sparse.index_pairs import IndexPairs, strided_pairs, submanifold_pairs
from shared_models.sparse.products import rows_times_kernel
from shared_models.sparse.sites import ConvolutionSpec, Sites
from shared_models.sparse.workspace import scratch


@dataclass(frozen=True, slots=True, kw_only=True)
class RulebookPlan(Plan):
    """The index pairs of one convolution."""

    pairs: IndexPairs

    @property
    def centre(self) -> int | None:
        """The kernel offset through which every row meets itself, if there is one."""
        return self.spec.volume // 2 if self.spec.is_submanifold else None


class RulebookEngine(SparseEngine):
    """Plain torch on index pairs: any device, any floating type."""

    name = "rulebook"

    def plan(self, sites: Sites, spec: ConvolutionSpec) -> RulebookPlan:
        if spec.is_submanifold:
            outputs, pairs = sites, submanifold_pairs(sites, spec.kernel)
        else:
            outputs, pairs = strided_pairs(sites, spec)
        return RulebookPlan(spec=spec, inputs=sites, outputs=outputs, pairs=pairs)

    def convolve(self, features: Tensor, weight: Tensor, plan: Plan) -> Tensor:
        if not isinstance(plan, RulebookPlan):
            raise TypeError(f"the rulebook engine needs its own plan, got {type(plan).__name__}")
        check_convolution(features, weight, plan)
        # Mixed precision is left to the dense layers: sums over many neighbours stay in float32.
        with torch.autocast(features.device.type, enabled=False):
            features, weight = full_precision(features), full_precision(weight)
            result: Tensor = _RulebookConvolution.apply(features, weight, plan)  # type: ignore[no-untyped-call]
        return result


class _RulebookConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, plan: RulebookPlan) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.plan = plan
        kernels = weight.flatten(1, 3).permute(1, 0, 2)
        return _gather_multiply_add(features, kernels, plan.pairs, len(plan.outputs), plan.centre)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        with torch.autocast(grad.device.type, enabled=False):
            return _RulebookConvolution._gradients(ctx, grad)

    @staticmethod
    def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        plan: RulebookPlan = ctx.plan
        grad_features = grad_weight = None
        if ctx.needs_input_grad[0]:
            kernels = weight.flatten(1, 3).permute(1, 2, 0)
            grad_features = _gather_multiply_add(grad, kernels, plan.pairs.swapped(), len(features), plan.centre)
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_gradient(features, grad, plan.pairs, weight)
        return grad_features, grad_weight, None


def _gather_multiply_add(
    features: Tensor, kernels: Tensor, pairs: IndexPairs, row_count: int, centre: int | None
) -> Tensor:
    """(row_count, C_out): sum over pairs of input row (C_in) times its offset's kernel of (K, C_out, C_in)."""
    by_offset = kernels.contiguous().unbind(0)
    # The first product is kept, so it must not be scratch memory.
    if centre is None or len(features) == 0:
        result = features.new_zeros((row_count, kernels.shape[1]))
    else:
        result = torch.mm(features, by_offset[centre].t())
    # A buffer the size of the largest offset, used again for each, stays in the processor's cache.
    gathered = scratch("gathered", features, pairs.largest_segment, kernels.shape[2])
    for offset, inputs, outputs in pairs.segments:
        if offset == centre:
            continue
        rows = gathered[: len(inputs)]
        torch.index_select(features, 0, inputs, out=rows)
        result.index_add_(0, outputs, rows_times_kernel(rows, by_offset[offset]))
    return result


def _weight_gradient(features: Tensor, grad: Tensor, pairs: IndexPairs, weight: Tensor) -> Tensor:
    """Shaped as `weight`: for each kernel offset the sum over its pairs of output gradient times input row."""
    # Without any pair there are no offsets to count.
    total = weight.new_zeros((weight[0, ..., 0].numel(), weight.shape[0], weight.shape[4]))
    for offset, inputs, outputs in pairs.segments:
        torch.mm(grad.index_select(0, outputs).t(), features.index_select(0, inputs), out=total[offset])
    return total.permute(1, 0, 2).reshape(weight.shape)
