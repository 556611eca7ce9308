"""Which input site feeds which output site through which kernel offset, from sorted coordinates alone.

No hash table: sorted row-major keys are searched, and the x-neighbours of a cell are adjacent in that order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shared_models.sparse.sites import ConvolutionSpec, Sites, Triple, coords_from_keys, row_major_keys

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class IndexPairs:
    """P pairs (input row, output row), grouped by kernel offset.

    inputs, outputs: (P,) int64 row numbers; within one offset both ascend and none occurs twice.
    offsets: kernel volume + 1 positions; the pairs of offset k are offsets[k] to offsets[k + 1].
    """

    inputs: Tensor
    outputs: Tensor
    offsets: tuple[int, ...]

    def __len__(self) -> int:
        return self.offsets[-1]

    @property
    def offset_count(self) -> int:
        """Number of kernel offsets, with and without pairs."""
        return len(self.offsets) - 1

    @property
    def largest_segment(self) -> int:
        """Number of pairs of the offset that has most."""
        return max(end - start for start, end in pairwise(self.offsets))

    def swapped(self) -> IndexPairs:
        """The same pairs read from output to input, as a gradient runs."""
        return IndexPairs(inputs=self.outputs, outputs=self.inputs, offsets=self.offsets)

    @cached_property
    def segments(self) -> list[tuple[int, Tensor, Tensor]]:
        """(kernel offset, input rows, output rows) of every offset that has pairs."""
        bounds = enumerate(pairwise(self.offsets))
        return [(k, self.inputs[start:end], self.outputs[start:end]) for k, (start, end) in bounds if end > start]


def submanifold_pairs(sites: Sites, kernel: Triple) -> IndexPairs:
    """Pairs of a submanifold convolution: output row i reads the input row at cell i + offset."""
    ahead = _pairs_ahead(sites, (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2))
    rows = torch.arange(len(sites), device=sites.coords.device)
    # A pair at +offset, read backwards, is the pair at -offset: half of the search is enough.
    behind = [(outputs, inputs) for inputs, outputs in reversed(ahead)]
    return _concatenate([*behind, (rows, rows), *ahead])


def _pairs_ahead(sites: Sites, radius: Triple) -> list[Pair]:
    """(input rows, output rows) for each kernel offset after the centre, in the kernel's order."""
    # A border as wide as the kernel's reach keeps a step across a map's edge from landing on another row.
    keys = row_major_keys(sites.coords, sites.shape, radius)
    row_step = sites.shape[2] + 2 * radius[2]
    slice_step = row_step * (sites.shape[1] + 2 * radius[1])
    lines = [(dz, dy) for dz in range(radius[0] + 1) for dy in range(-radius[1], radius[1] + 1) if (dz, dy) > (0, 0)]
    steps = torch.tensor([dz * slice_step + dy * row_step for dz, dy in lines], dtype=keys.dtype, device=keys.device)
    wanted = keys + (steps - radius[2])[:, None]
    # In its own line a cell looks ahead alone, from the row after it; other lines are searched for the first cell.
    rows = torch.arange(len(keys), device=keys.device)
    own = _walk(keys, keys[None] + 1, rows[None] + 1, radius[2])
    others = _walk(keys, wanted, torch.searchsorted(keys, wanted), 2 * radius[2] + 1)
    found = _true_positions(torch.cat((own[0], others[0])))
    inputs = torch.cat((own[1], others[1])).index_select(0, found)
    starts = torch.arange((len(own[0]) + len(others[0])) // max(len(keys), 1), device=keys.device) * len(keys)
    bounds = [*torch.searchsorted(found, starts).tolist(), len(found)]
    segments = zip(pairwise(bounds), starts.tolist(), strict=True)
    return [(inputs[a:b], found[a:b] - start) for (a, b), start in segments]


def _walk(keys: Tensor, wanted: Tensor, position: Tensor, count: int) -> Pair:
    """For each line the `count` cells from `wanted` (L, V) on: whether each is there, and at which row.

    position: (L, V) first row whose key is at least `wanted`. Gives two flat tensors in the order line, step, V.
    """
    padded = torch.cat((keys, keys.new_full((1,), -1)))
    matches, positions = [], []
    for _ in range(count):
        is_match = padded.index_select(0, position.flatten()).view_as(wanted) == wanted
        matches.append(is_match)
        positions.append(position)
        # Where this cell was there, the next one in x can only be the next row.
        position = position + is_match
        wanted = wanted + 1
    if not matches:
        return wanted.new_zeros(0, dtype=torch.bool), wanted.new_zeros(0)
    return torch.stack(matches, 1).flatten(), torch.stack(positions, 1).flatten()


def strided_pairs(sites: Sites, spec: ConvolutionSpec) -> tuple[Sites, IndexPairs]:
    """Output sites and pairs of a convolution whose outputs are all cells that an input reaches."""
    shape = spec.output_shape(sites.shape)
    batch, *axes = sites.coords.long().unbind(1)
    # (input rows, output keys) so far, one entry per kernel offset, narrowed axis by axis. On a CPU as numpy arrays:
    # for so many short steps numpy takes less time than torch.
    found: list[tuple[Any, Any]] = [(_array(torch.arange(len(sites), device=batch.device)), _array(batch))]
    for axis, position in enumerate(axes):
        targets = _axis_targets(sites.shape[axis], shape[axis], spec, axis, batch.device)
        # (kernel, V): where each input goes along this axis through each offset, -1 where nowhere
        reached = _array(targets.index_select(1, position))
        found = [_narrow(pair, target, shape[axis]) for pair in found for target in reached]
    pairs = _concatenate([(torch.as_tensor(rows), torch.as_tensor(keys)) for rows, keys in found])
    out_keys, outputs = torch.unique(pairs.outputs, return_inverse=True)
    out_sites = Sites(coords=coords_from_keys(out_keys, shape), shape=shape, batch_size=sites.batch_size)
    return out_sites, IndexPairs(inputs=pairs.inputs, outputs=outputs, offsets=pairs.offsets)


def _axis_targets(size: int, out_size: int, spec: ConvolutionSpec, axis: int, device: torch.device) -> Tensor:
    """(kernel, size) int64: output cell o with o * stride - padding + k = i for input cell i and offset k, or -1."""
    offsets = torch.arange(spec.kernel[axis], device=device)[:, None]
    reach = torch.arange(size, device=device) + spec.padding[axis] - offsets
    target = torch.div(reach, spec.stride[axis], rounding_mode="floor")
    fits = (reach == target * spec.stride[axis]) & (target >= 0) & (target < out_size)
    return torch.where(fits, target, -1)


def _narrow(pair: tuple[Any, Any], target: Any, size: int) -> tuple[Any, Any]:
    """Keep the inputs that reach a cell along one more axis, and extend their output keys by it."""
    rows, keys = pair
    cells = target[rows]
    is_kept = cells >= 0
    kept = np.flatnonzero(is_kept) if isinstance(is_kept, np.ndarray) else is_kept.nonzero().squeeze(1)
    return rows[kept], keys[kept] * size + cells[kept]


def _array(tensor: Tensor) -> Any:
    """The same memory as a numpy array where it lies in the processor's memory."""
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


def _true_positions(mask: Tensor) -> Tensor:
    """(count,) int64 positions of the true elements of a flat mask, ascending."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))  # measured: ten times as fast as torch.nonzero
    return mask.nonzero().squeeze(1)


def _concatenate(found: list[Pair]) -> IndexPairs:
    offsets = [0]
    for inputs, _ in found:
        offsets.append(offsets[-1] + len(inputs))
    return IndexPairs(
        inputs=torch.cat([inputs for inputs, _ in found]),
        outputs=torch.cat([outputs for _, outputs in found]),
        offsets=tuple(offsets),
    )
