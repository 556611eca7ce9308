"""Random small sparse maps, and the obvious slow convolution that the engines are held to."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from shared_models.sparse import ConvolutionSpec, Sites

SPECS = {
    "submanifold": ConvolutionSpec(is_submanifold=True),
    "submanifold 1x3x5": ConvolutionSpec(kernel=(1, 3, 5), padding=(0, 1, 2), is_submanifold=True),
    "halve": ConvolutionSpec(stride=(2, 2, 2)),
    "halve, z unpadded": ConvolutionSpec(stride=(2, 2, 2), padding=(0, 1, 1)),
    "merge slices": ConvolutionSpec(kernel=(3, 1, 1), stride=(2, 1, 1), padding=(0, 0, 0)),
    "stride 1, spreading": ConvolutionSpec(),
    "stride 3, kernel 2": ConvolutionSpec(kernel=(2, 2, 2), stride=(3, 3, 3), padding=(0, 1, 0)),
}


def random_sites(seed: int, shape: tuple[int, int, int], counts: list[int]) -> Sites:
    """Distinct random cells, `counts[b]` of them in scan b."""
    generator = torch.Generator().manual_seed(seed)
    depth, height, width = shape
    rows = []
    for batch, count in enumerate(counts):
        keys = torch.randperm(depth * height * width, generator=generator)[:count].sort().values
        z, y, x = keys // (height * width), keys // width % height, keys % width
        rows.append(torch.stack((torch.full_like(z, batch), z, y, x), 1))
    coords = torch.cat(rows).int() if rows else torch.zeros(0, 4, dtype=torch.int32)
    return Sites(coords=coords, shape=shape, batch_size=len(counts))


def slow_convolution(
    sites: Sites, features: Tensor, weight: Tensor, spec: ConvolutionSpec
) -> dict[tuple[int, ...], Tensor]:
    """Dense float64 convolution, written as its definition: output cell -> (C_out,) for every active output."""
    inputs = {tuple(c): f.double() for c, f in zip(sites.coords.tolist(), features, strict=True)}
    shape = spec.output_shape(sites.shape)
    result: dict[tuple[int, ...], Tensor] = {}
    for cell in product(range(sites.batch_size), *map(range, shape)):
        if spec.is_submanifold and cell not in inputs:
            continue
        total, is_reached = torch.zeros(weight.shape[0], dtype=torch.float64), False
        for offset in product(*map(range, spec.kernel)):
            padding = tuple(k // 2 for k in spec.kernel) if spec.is_submanifold else spec.padding
            steps = zip(cell[1:], spec.stride, padding, offset, strict=True)
            source = (cell[0], *(o * s - p + k for o, s, p, k in steps))
            if source in inputs:
                is_reached = True
                total += weight[:, *offset].double() @ inputs[source]
        if is_reached:
            result[cell] = total
    return result
