from __future__ import annotations

import pytest
import torch

from shared_models.errors import DeviceError, MissingDependencyError
from shared_models.sparse import create_engine
from shared_models.sparse.index_pairs import submanifold_pairs
from shared_models.sparse.spconv_engine import SpconvEngine, pair_table
from tests.shared_models.sparse.reference import SPECS, random_sites


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a library that spconv imports
def test_without_cuda_the_extra_is_named() -> None:
    """Also where spconv is installed without CUDA, whose CPU kernels must not be used."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU; spconv may be usable")
    with pytest.raises(MissingDependencyError, match=r"upcycle-fleet\[cu126\].*or choose the rulebook engine"):
        create_engine("spconv")


def test_cpu_tensors_are_refused() -> None:
    engine = object.__new__(SpconvEngine)  # without the library: the check comes before it is needed
    with pytest.raises(DeviceError, match="choose the rulebook engine"):
        engine.plan(random_sites(0, (3, 4, 4), [5]), SPECS["submanifold"])


def test_pair_table_holds_every_pair_and_nothing_else() -> None:
    sites = random_sites(1, (3, 5, 5), [20])
    pairs = submanifold_pairs(sites, (3, 3, 3))
    table, counts = pair_table(pairs, len(sites))
    assert table.shape == (2, 27, 20)
    for offset, (start, end) in enumerate(zip(pairs.offsets, pairs.offsets[1:], strict=False)):
        count = int(counts[offset])
        assert count == end - start
        assert torch.equal(table[0, offset, :count].long(), pairs.inputs[start:end])
        assert torch.equal(table[1, offset, :count].long(), pairs.outputs[start:end])
        assert bool((table[:, offset, count:] == -1).all())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_equals_the_rulebook_engine_on_the_gpu(spec) -> None:
    spconv, rulebook = create_engine("spconv"), create_engine("rulebook")
    sites = random_sites(1, (9, 20, 20), [400, 0, 300])
    features, weight = torch.randn(len(sites), 16), torch.randn(32, *spec.kernel, 16)
    expected = rulebook.convolve(features.double(), weight.double(), rulebook.plan(sites, spec))
    moved = type(sites)(coords=sites.coords.cuda(), shape=sites.shape, batch_size=sites.batch_size)
    result = spconv.convolve(features.cuda(), weight.cuda(), spconv.plan(moved, spec))
    torch.testing.assert_close(result.cpu().double(), expected, rtol=1e-4, atol=1e-4)
