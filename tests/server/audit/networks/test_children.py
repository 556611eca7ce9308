"""Which cells before a convolution may have made its outputs active."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from server.audit.networks.children import UNDONE, children_of, membership, occupied_before, shapes_before
from shared_models.backbones.second import DOWNSAMPLING, MERGE_SLICES
from shared_models.sparse import create_engine
from shared_models.sparse.index_pairs import strided_pairs
from shared_models.sparse.sites import ConvolutionSpec, Sites, Triple, coords_from_keys

SPECS = [*DOWNSAMPLING[1:], MERGE_SLICES]
SHAPE = (7, 6, 5)


def random_sites(shape: Triple, count: int, seed: int) -> Sites:
    cells = 2 * shape[0] * shape[1] * shape[2]
    keys = torch.randperm(cells, generator=torch.Generator().manual_seed(seed))[:count].sort().values
    return Sites(coords=coords_from_keys(keys, shape), shape=shape, batch_size=2)


def slow_outputs(cell: Triple, spec: ConvolutionSpec, out_shape: Triple) -> set[Triple]:
    """All outputs o with o stride - padding + k = cell for a kernel offset k."""
    found = set()
    for output in product(*(range(size) for size in out_shape)):
        offset = [c - o * s + p for c, o, s, p in zip(cell, output, spec.stride, spec.padding, strict=True)]
        if all(0 <= k < size for k, size in zip(offset, spec.kernel, strict=True)):
            found.add(output)
    return found


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("least_share", [0.0, 0.6, 1.0])
def test_children_are_those_of_a_slow_search(spec: ConvolutionSpec, least_share: float) -> None:
    out_shape = spec.output_shape(SHAPE)
    parents = random_sites(out_shape, 10, 0)
    active = {tuple(row) for row in parents.coords.tolist()}
    expected = {}
    for batch, *cell in product(range(2), *(range(size) for size in SHAPE)):
        outputs = slow_outputs(tuple(cell), spec, out_shape)  # type: ignore[arg-type]
        share = sum((batch, *output) in active for output in outputs) / len(outputs) if outputs else 0.0
        if share > 0 and share >= least_share:
            expected[(batch, *cell)] = share
    found = children_of(parents, spec, SHAPE, least_share)
    assert {tuple(row) for row in found.sites.coords.tolist()} == expected.keys()
    for row, share in zip(found.sites.coords.tolist(), found.shares.tolist(), strict=True):
        assert share == pytest.approx(expected[tuple(row)])
    found.sites.check_contents()


@pytest.mark.parametrize("spec", SPECS)
def test_the_true_cells_are_all_among_the_children_with_share_1(spec: ConvolutionSpec) -> None:
    truth = random_sites(SHAPE, 60, 1)
    parents, _ = strided_pairs(truth, spec)
    found = children_of(parents, spec, SHAPE, 1.0)
    reached = membership(truth, found.sites)
    # A cell that no output sees leaves no trace; every other one is found.
    has_outputs = torch.tensor([bool(slow_outputs(tuple(c[1:]), spec, parents.shape)) for c in truth.coords.tolist()])
    assert torch.equal(reached, has_outputs)


@pytest.mark.parametrize("spec", SPECS)
def test_the_plan_is_the_convolutions_transpose(spec: ConvolutionSpec) -> None:
    """<convolve(x), y> = <x, spread(y)> with the same kernel, where spread runs over all cells that see an output."""
    engine = create_engine("rulebook")
    parents = random_sites(spec.output_shape(SHAPE), 12, 2)
    found = children_of(parents, spec, SHAPE)
    generator = torch.Generator().manual_seed(3)
    y = torch.randn(len(parents), 4, generator=generator, dtype=torch.float64)
    x = torch.randn(len(found.sites), 3, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, *spec.kernel, 3, generator=generator, dtype=torch.float64)
    spread = engine.convolve(y, weight.movedim(0, -1).movedim(-2, 0).contiguous(), found.plan)
    plan = engine.plan(found.sites, spec)
    forward = engine.convolve(x, weight, plan)
    rows = membership(plan.outputs, parents)
    assert int(rows.sum()) == len(parents)
    torch.testing.assert_close((forward[rows] * y).sum(), (x * spread).sum())


def test_scales_go_back_from_the_layer_to_the_voxels() -> None:
    assert shapes_before("conv_out", (41, 400, 352)) == [(5, 50, 44), (11, 100, 88), (21, 200, 176), (41, 400, 352)]
    assert shapes_before("conv3", (41, 400, 352)) == [(21, 200, 176), (41, 400, 352)]
    assert shapes_before("conv1", (41, 400, 352)) == []
    voxels = random_sites((17, 16, 16), 40, 4)
    stages = occupied_before(voxels, "conv_out")
    assert stages[-1] is voxels
    for spec, outputs, inputs in zip(UNDONE["conv_out"][1:], stages[:-1], stages[1:], strict=True):
        assert torch.equal(strided_pairs(inputs, spec)[0].coords, outputs.coords)


def test_no_parents_have_no_children() -> None:
    empty = Sites(coords=torch.zeros((0, 4), dtype=torch.int32), shape=(4, 4, 4), batch_size=1)
    found = children_of(empty, SPECS[0], (8, 8, 8))
    assert (len(found.sites), len(found.plan.pairs)) == (0, 0)
    assert membership(empty, empty).tolist() == []
