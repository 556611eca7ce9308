"""Sparse convolution by spconv's CUDA kernels, over this project's own index pairs.

Sites stay sorted and pairs are the rulebook's, so that results differ from the `rulebook` engine by rounding alone.
CPU tensors are refused: spconv 2.3.8's CPU kernels give wrong sums with more than one thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shared_models.errors import DeviceError, MissingDependencyError
from shared_models.precision import full_precision
from shared_models.sparse.engine import Plan, SparseEngine, check_convolution
from shared_models.sparse.index_pairs import IndexPairs, strided_pairs, submanifold_pairs
from shared_models.sparse.sites import ConvolutionSpec, Sites

_HOW_TO_INSTALL = (
    "the spconv engine needs spconv 2.3.8 with CUDA: pip install 'upcycle-fleet[cu126]', "
    "or choose the rulebook engine, which needs nothing"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpconvPlan(Plan):
    """Index pairs in spconv's layout.

    pairs: (2, K, V_in) int32 input and output rows of each kernel offset, -1 where there are fewer.
    pair_counts: (K,) int32.
    """

    pairs: Tensor
    pair_counts: Tensor


class SpconvEngine(SparseEngine):
    """spconv 2.3 on CUDA: gather, matrix product and scatter in its own kernels."""

    name = "spconv"

    def __init__(self) -> None:
        try:
            from spconv.core import ConvAlgo
            from spconv.cppconstants import CPU_ONLY_BUILD
            from spconv.pytorch import functional
        except ImportError as error:
            raise MissingDependencyError(f"spconv is not installed; {_HOW_TO_INSTALL}") from error
        if CPU_ONLY_BUILD:
            raise MissingDependencyError(f"the installed spconv was built without CUDA; {_HOW_TO_INSTALL}")
        self._functional: Any = functional
        self._algorithm: Any = ConvAlgo.Native

    def plan(self, sites: Sites, spec: ConvolutionSpec) -> SpconvPlan:
        _require_cuda(sites.coords)
        if spec.is_submanifold:
            outputs, pairs = sites, submanifold_pairs(sites, spec.kernel)
        else:
            outputs, pairs = strided_pairs(sites, spec)
        table, counts = pair_table(pairs, len(sites))
        return SpconvPlan(spec=spec, inputs=sites, outputs=outputs, pairs=table, pair_counts=counts)

    def convolve(self, features: Tensor, weight: Tensor, plan: Plan) -> Tensor:
        if not isinstance(plan, SpconvPlan):
            raise TypeError(f"the spconv engine needs its own plan, got {type(plan).__name__}")
        _require_cuda(features)
        check_convolution(features, weight, plan)  # spconv reads past its arrays where rows are missing
        if len(plan.outputs) == 0 or len(plan.inputs) == 0:
            return features.new_zeros((len(plan.outputs), weight.shape[0]))
        features, weight = full_precision(features), full_precision(weight)
        convolve = self._functional.indice_subm_conv if plan.spec.is_submanifold else self._functional.indice_conv
        with torch.autocast("cuda", enabled=False):
            result: Tensor = convolve(
                features, weight, plan.pairs, plan.pair_counts, len(plan.outputs), self._algorithm
            )
        return result


def pair_table(pairs: IndexPairs, row_count: int) -> tuple[Tensor, Tensor]:
    """(2, K, row_count) int32 rows, filled up with -1, and (K,) int32 counts."""
    device = pairs.inputs.device
    table = torch.full((2, pairs.offset_count, row_count), -1, dtype=torch.int32, device=device)
    counts = torch.zeros(pairs.offset_count, dtype=torch.int32)
    for offset, inputs, outputs in pairs.segments:
        counts[offset] = len(inputs)
        table[0, offset, : len(inputs)] = inputs
        table[1, offset, : len(outputs)] = outputs
    return table, counts.to(device)


def _require_cuda(tensor: Tensor) -> None:
    if tensor.device.type != "cuda":
        raise DeviceError(
            f"the spconv engine computes on CUDA only, got a tensor on {tensor.device}: spconv's CPU kernels are wrong "
            "with more than one thread; move the data to the GPU or choose the rulebook engine"
        )
