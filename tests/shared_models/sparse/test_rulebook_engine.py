from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from shared_models.errors import InvalidValueError, UnknownNameError
from shared_models.sparse import ConvolutionSpec, Sites, create_engine
from tests.shared_models.sparse.reference import SPECS, random_sites, slow_convolution

ENGINE = create_engine("rulebook")


def random_case(seed: int, spec: ConvolutionSpec, counts: list[int], shape=(4, 6, 5), channels=(3, 4)):
    generator = torch.Generator().manual_seed(seed)
    sites = random_sites(seed, shape, counts)
    features = torch.randn(len(sites), channels[0], generator=generator, dtype=torch.float64)
    weight = torch.randn(channels[1], *spec.kernel, channels[0], generator=generator, dtype=torch.float64)
    return sites, features, weight


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
@pytest.mark.parametrize("counts", [[40], [1], [25, 0, 60], [0], [120], [0, 0]], ids=str)
def test_equals_the_definition(spec: ConvolutionSpec, counts: list[int]) -> None:
    sites, features, weight = random_case(sum(counts), spec, counts)
    expected = slow_convolution(sites, features, weight, spec)

    plan = ENGINE.plan(sites, spec)
    result = ENGINE.convolve(features, weight, plan)

    plan.outputs.check_contents()
    assert plan.outputs.shape == spec.output_shape(sites.shape)
    assert plan.outputs.batch_size == sites.batch_size
    assert [tuple(c) for c in plan.outputs.coords.tolist()] == sorted(expected)
    assert result.shape == (len(expected), weight.shape[0])
    for row, cell in zip(result, sorted(expected), strict=True):
        torch.testing.assert_close(row, expected[cell], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_gradients(spec: ConvolutionSpec) -> None:
    sites, features, weight = random_case(7, spec, [9, 0, 6], shape=(3, 4, 4), channels=(2, 3))
    plan = ENGINE.plan(sites, spec)
    arguments = (features.requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(lambda f, w: ENGINE.convolve(f, w, plan), arguments)


def test_gradient_without_sites() -> None:
    spec = ConvolutionSpec(stride=(2, 2, 2))
    sites, features, weight = random_case(0, spec, [0])
    weight.requires_grad_()
    ENGINE.convolve(features, weight, ENGINE.plan(sites, spec)).sum().backward()
    assert weight.grad is not None
    assert not weight.grad.any()


def test_cells_at_the_edge_do_not_meet_those_of_the_next_row_or_scan() -> None:
    # The last cell of one row and the first of the next are neighbours in memory, not in space.
    coords = torch.tensor([[0, 0, 0, 3], [0, 0, 1, 0], [0, 1, 3, 3], [1, 0, 0, 0]], dtype=torch.int32)
    sites = Sites(coords=coords, shape=(2, 4, 4), batch_size=2)
    weight = torch.ones(1, 3, 3, 3, 1)
    features = torch.tensor([[1.0], [10.0], [100.0], [1000.0]])
    spec = ConvolutionSpec(is_submanifold=True)
    assert ENGINE.convolve(features, weight, ENGINE.plan(sites, spec)).tolist() == features.tolist()


@pytest.mark.parametrize("spec", [SPECS["submanifold"], SPECS["halve"]], ids=["submanifold", "halve"])
def test_same_bits_on_every_run(spec: ConvolutionSpec) -> None:
    sites, features, weight = random_case(3, spec, [3000, 4000], shape=(9, 40, 50), channels=(16, 32))
    features, weight = features.float(), weight.float()
    plan = ENGINE.plan(sites, spec)
    first = ENGINE.convolve(features, weight, plan)
    for _ in range(3):
        assert torch.equal(first, ENGINE.convolve(features, weight, ENGINE.plan(sites, spec)))


# One process per thread count, because a process cannot be trusted to change its threads half-way.
THREADS_PROGRAM = """
import sys, torch
from shared_models.sparse import ConvolutionSpec, create_engine
from tests.shared_models.sparse.reference import random_sites
torch.set_num_threads(int(sys.argv[1]))
engine, spec = create_engine("rulebook"), ConvolutionSpec(is_submanifold=True)
sites = random_sites(5, (9, 60, 70), [20000])
generator = torch.Generator().manual_seed(5)
features = torch.randn(len(sites), 32, generator=generator)
weight = torch.randn(64, 3, 3, 3, 32, generator=generator)
runs = [engine.convolve(features, weight, engine.plan(sites, spec)) for _ in range(4)]
assert all(torch.equal(runs[0], run) for run in runs), "differs from run to run"
exact = engine.convolve(features.double(), weight.double(), engine.plan(sites, spec))
error = float((runs[0] - exact).abs().max() / exact.abs().max())
print(error)
"""


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_thread_count_changes_no_more_than_rounding(threads: int, repository) -> None:
    done = subprocess.run(
        [sys.executable, "-c", THREADS_PROGRAM, str(threads)],
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-6


def test_refuses_what_does_not_fit_the_plan() -> None:
    spec = SPECS["submanifold"]
    sites, features, weight = random_case(1, spec, [10])
    plan = ENGINE.plan(sites, spec)
    with pytest.raises(InvalidValueError, match=r"expected features \(10, C\), got \(7, 3\)"):
        ENGINE.convolve(features[:7], weight, plan)
    with pytest.raises(InvalidValueError, match=r"expected weight \(C_out, 3, 3, 3, 3\)"):
        ENGINE.convolve(features, weight[..., :2], plan)


def test_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: auto, rulebook, spconv"):
        create_engine("cudnn")


def test_a_convolution_without_any_pair_has_zero_gradients() -> None:
    sites = Sites(coords=torch.tensor([[0, 0, 0, 0]], dtype=torch.int32), shape=(1, 4, 4), batch_size=1)
    spec = ConvolutionSpec(kernel=(3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0))
    engine = create_engine("rulebook")
    empty = Sites(coords=torch.zeros((0, 4), dtype=torch.int32), shape=(1, 4, 4), batch_size=1)
    weight = torch.ones((8, 3, 1, 1, 4), requires_grad=True)
    for chosen in (empty, sites):
        features = torch.ones((len(chosen), 4), requires_grad=True)
        engine.convolve(features, weight, engine.plan(chosen, spec)).sum().backward()
    assert weight.grad is not None
    assert weight.grad[:, 1].eq(1).all()  # the one site meets the middle of the kernel
    assert weight.grad[:, [0, 2]].eq(0).all()
