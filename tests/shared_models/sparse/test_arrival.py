from __future__ import annotations

import torch

from shared_models.sparse.arrival import ranks_after, ranks_of
from tests.shared_models.sparse.reference import SPECS, random_sites


def test_ranks_follow_offset_then_arrival_of_the_input() -> None:
    spec = SPECS["halve"]
    sites = random_sites(6, (5, 7, 6), [40])
    ranks = torch.randperm(40, generator=torch.Generator().manual_seed(6))
    arrived = [tuple(sites.coords[row].tolist()) for row in torch.argsort(ranks)]
    # The definition: walk kernel offsets, then inputs as they arrived, and number each output when first reached.
    expected: list[tuple[int, ...]] = []
    for offset in torch.cartesian_prod(*[torch.arange(3)] * 3).tolist():
        for batch, *cell in arrived:
            reach = [c + 1 - k for c, k in zip(cell, offset, strict=True)]
            target = (batch, *(r // 2 for r in reach))
            limits = zip(target[1:], spec.output_shape(sites.shape), strict=True)
            if all(r % 2 == 0 for r in reach) and all(0 <= t < s for t, s in limits) and target not in expected:
                expected.append(target)
    result = ranks_after(ranks, sites, spec)
    assert [tuple(c) for c in torch.tensor(sorted(expected))[torch.argsort(result)].tolist()] == expected


def test_ranks_of() -> None:
    assert ranks_of(torch.tensor([30, 10, 20])).tolist() == [2, 0, 1]
