"""From the active cells of one stage back to the cells before a strided convolution that may have made them active."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from shared_models.backbones.second import DOWNSAMPLING, MERGE_SLICES
from shared_models.sparse.index_pairs import IndexPairs, strided_pairs
from shared_models.sparse.rulebook_engine import RulebookPlan
from shared_models.sparse.sites import ConvolutionSpec, Sites, Triple, coords_from_keys, row_major_keys

# The convolutions that leave fewer cells, from each layer back to the voxels.
UNDONE: Final[dict[str, tuple[ConvolutionSpec, ...]]] = {
    "conv1": (),
    "conv2": DOWNSAMPLING[0::-1],
    "conv3": DOWNSAMPLING[1::-1],
    "conv4": DOWNSAMPLING[::-1],
    "conv_out": (MERGE_SLICES, *DOWNSAMPLING[::-1]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Children:
    """Candidates for the cells before a convolution, and through which kernel offset each was reached.

    sites: V candidates. shares: (V,) float32, of the outputs that each candidate would make active those that are.
    plan: from parents to candidates, for a transposed convolution with kernels (C_out, kD, kH, kW, C_in).
    """

    sites: Sites
    shares: Tensor
    plan: RulebookPlan


def shapes_before(layer: str, sparse_shape: Triple) -> list[Triple]:
    """(D, H, W) of the map before each convolution in `UNDONE[layer]`; the last is that of the voxels."""
    shapes = [sparse_shape]
    for spec in UNDONE[layer][::-1][:-1]:
        shapes.append(spec.output_shape(shapes[-1]))
    return shapes[::-1][: len(UNDONE[layer])]


def children_of(parents: Sites, spec: ConvolutionSpec, shape: Triple, least_share: float = 0.0) -> Children:
    """The cells of a map of `shape` from which `spec` reaches at least one of `parents`.

    A strided convolution makes every output active that an occupied cell reaches. So an occupied cell has the share 1
    where `parents` are exactly the active cells, and `least_share` leaves out cells that too few parents speak for.
    """
    keys, rows, bounds = _reached(parents, spec, shape)
    unique, inverse, counts = torch.unique(keys, return_inverse=True, return_counts=True)
    coords = coords_from_keys(unique, shape)
    shares = counts.float() / _output_counts(coords, spec, shape, parents.shape)
    is_kept = shares >= least_share - 1e-6
    number = torch.cumsum(is_kept, 0) - 1
    kept_pairs = is_kept[inverse]
    ends = torch.cat((kept_pairs.new_zeros(1, dtype=torch.int64), torch.cumsum(kept_pairs, 0)))
    pairs = IndexPairs(
        inputs=rows[kept_pairs], outputs=number[inverse[kept_pairs]], offsets=tuple(ends[torch.tensor(bounds)].tolist())
    )
    sites = Sites(coords=coords[is_kept].contiguous(), shape=shape, batch_size=parents.batch_size)
    plan = RulebookPlan(spec=spec, inputs=parents, outputs=sites, pairs=pairs)
    return Children(sites=sites, shares=shares[is_kept], plan=plan)


def _reached(parents: Sites, spec: ConvolutionSpec, shape: Triple) -> tuple[Tensor, Tensor, list[int]]:
    """(P,) keys of cells on a map of `shape`, (P,) the parent that reached each, where each offset's pairs start."""
    offsets = torch.cartesian_prod(*(torch.arange(size) for size in spec.kernel)).to(parents.coords.device)
    coords = parents.coords.long()
    first = coords[:, 1:] * coords.new_tensor(spec.stride) - coords.new_tensor(spec.padding)
    limits = coords.new_tensor(shape)
    keys, rows, bounds = [], [], [0]
    for offset in offsets:
        cells = first + offset
        inside = ((cells >= 0) & (cells < limits)).all(1).nonzero().squeeze(1)
        keys.append(row_major_keys(torch.cat((coords[inside, :1], cells[inside]), 1), shape))
        rows.append(inside)
        bounds.append(bounds[-1] + len(inside))
    return torch.cat(keys), torch.cat(rows), bounds


def _output_counts(coords: Tensor, spec: ConvolutionSpec, shape: Triple, out_shape: Triple) -> Tensor:
    """(V,) float32: how many cells of a map of `out_shape` the convolution reaches from each cell (V, 4)."""
    total = torch.ones(len(coords), device=coords.device)
    for axis in range(3):
        cells = torch.arange(shape[axis], device=coords.device)
        counts = torch.zeros(shape[axis], device=coords.device)
        for offset in range(spec.kernel[axis]):
            reach = cells + spec.padding[axis] - offset
            target = torch.div(reach, spec.stride[axis], rounding_mode="floor")
            counts += (reach == target * spec.stride[axis]) & (target >= 0) & (target < out_shape[axis])
        total = total * counts[coords[:, axis + 1].long()]
    return total


def occupied_before(voxels: Sites, layer: str) -> list[Sites]:
    """The cells that really were active before each convolution in `UNDONE[layer]`; the last are the voxels."""
    stages = [voxels]
    for spec in UNDONE[layer][::-1][:-1]:
        stages.append(strided_pairs(stages[-1], spec)[0])
    return stages[::-1][: len(UNDONE[layer])]


def membership(cells: Sites, members: Sites) -> Tensor:
    """(V,) bool: which of `cells` are among `members`, both on maps of one size."""
    keys, wanted = row_major_keys(cells.coords, cells.shape), row_major_keys(members.coords, members.shape)
    if len(wanted) == 0:
        return torch.zeros(len(keys), dtype=torch.bool, device=keys.device)
    position = torch.searchsorted(wanted, keys).clamp(max=len(wanted) - 1)
    return wanted[position] == keys
