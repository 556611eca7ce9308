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

from shared_models.sparse.engine import Plan, SparseEngine, check_convolution
from shared_models.sparse.index_pairs import IndexPairs, strided_pairs, submanifold_pairs
from shared_models.sparse.sites import ConvolutionSpec, Sites


@dataclass(frozen=True, slots=True, kw_only=True)
class RulebookPlan(Plan):
    """The index pairs of one convolution."""

    pairs: IndexPairs


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
        result: Tensor = _RulebookConvolution.apply(features, weight, plan)  # type: ignore[no-untyped-call]
        return result


class _RulebookConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, plan: RulebookPlan) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.plan = plan
        slices = weight.flatten(1, 3).permute(1, 2, 0).contiguous()
        return _gather_multiply_add(features, slices, plan.pairs, len(plan.outputs))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        pairs: IndexPairs = ctx.plan.pairs
        grad_features = grad_weight = None
        if ctx.needs_input_grad[0]:
            slices = weight.flatten(1, 3).permute(1, 0, 2).contiguous()
            grad_features = _gather_multiply_add(grad, slices, pairs.swapped(), len(features))
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_gradient(features, grad, pairs, weight)
        return grad_features, grad_weight, None


def _gather_multiply_add(features: Tensor, slices: Tensor, pairs: IndexPairs, row_count: int) -> Tensor:
    """(row_count, C_out): sum over pairs of input row (C_in) times its offset's slice of `slices` (K, C_in, C_out)."""
    result = features.new_zeros((row_count, slices.shape[2]))
    # Buffers the size of the largest offset are used again for each: they stay in the processor's cache.
    gathered = features.new_empty((pairs.largest_segment, slices.shape[1]))
    products = features.new_empty((pairs.largest_segment, slices.shape[2]))
    for offset, inputs, outputs in pairs.segments():
        count = len(inputs)
        torch.index_select(features, 0, inputs, out=gathered[:count])
        torch.mm(gathered[:count], slices[offset], out=products[:count])
        result.index_add_(0, outputs, products[:count])
    return result


def _weight_gradient(features: Tensor, grad: Tensor, pairs: IndexPairs, weight: Tensor) -> Tensor:
    """Shaped as `weight`: for each kernel offset the sum over its pairs of output gradient times input row."""
    total = weight.new_zeros((pairs.offset_count, weight.shape[0], weight.shape[4]))
    for offset, inputs, outputs in pairs.segments():
        torch.mm(grad.index_select(0, outputs).t(), features.index_select(0, inputs), out=total[offset])
    return total.permute(1, 0, 2).reshape(weight.shape)
