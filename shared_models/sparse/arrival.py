"""The order in which a reference implementation meets the sites of each stage.

Rows here are sorted by coordinate. Where an algorithm takes "the first neighbours by index" (PV-RCNN's ball query), the
order matters: OpenPCDet with spconv keeps voxels in the order of their first points, and numbers the outputs of a
strided convolution as they are first reached, kernel offset by kernel offset and input by input.
"""

from __future__ import annotations

import torch
from torch import Tensor

from shared_models.sparse.index_pairs import strided_pairs
from shared_models.sparse.sites import ConvolutionSpec, Sites


def ranks_after(ranks: Tensor, sites: Sites, spec: ConvolutionSpec) -> Tensor:
    """(V_out,) int64 ranks of the outputs of a strided convolution, from the (V_in,) ranks of its input `sites`."""
    outputs, pairs = strided_pairs(sites, spec)
    reached = torch.full((len(outputs),), torch.iinfo(torch.int64).max, device=ranks.device)
    for offset, inputs, rows in pairs.segments:
        # Unique within an offset, so that this is an ordinary indexed minimum.
        moment = ranks[inputs] + offset * len(sites)
        reached[rows] = torch.minimum(reached[rows], moment)
    return ranks_of(reached)


def ranks_of(keys: Tensor) -> Tensor:
    """(V,) int64: position of each key in ascending order; keys are distinct."""
    ranks = torch.empty_like(keys)
    ranks[torch.argsort(keys)] = torch.arange(len(keys), device=keys.device)
    return ranks
