from __future__ import annotations

import pytest
import torch

from shared_models.errors import InvalidValueError
from shared_models.sparse import ConvolutionSpec, Sites
from shared_models.sparse.sites import coords_from_keys, row_major_keys
from tests.shared_models.sparse.reference import random_sites


def test_keys_and_back() -> None:
    sites = random_sites(0, (5, 7, 11), [30, 0, 20])
    keys = row_major_keys(sites.coords, sites.shape)
    assert bool((keys[1:] > keys[:-1]).all())
    assert torch.equal(coords_from_keys(keys, sites.shape), sites.coords)


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        ([[0, 0, 0, 5]], "outside"),
        ([[0, 0, -1, 0]], "outside"),
        ([[2, 0, 0, 0]], "outside"),
        ([[0, 0, 0, 1], [0, 0, 0, 1]], "unique and sorted"),
        ([[0, 0, 1, 0], [0, 0, 0, 1]], "unique and sorted"),
    ],
)
def test_contents_from_outside_are_checked(coords: list[list[int]], message: str) -> None:
    sites = Sites(coords=torch.tensor(coords, dtype=torch.int32), shape=(2, 3, 5), batch_size=2)
    with pytest.raises(InvalidValueError, match=message):
        sites.check_contents()


def test_output_shapes_of_the_backbone() -> None:
    halve = ConvolutionSpec(stride=(2, 2, 2))
    assert halve.output_shape((41, 1600, 1408)) == (21, 800, 704)
    assert ConvolutionSpec(stride=(2, 2, 2), padding=(0, 1, 1)).output_shape((11, 400, 352)) == (5, 200, 176)


def test_impossible_geometry_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="stride 1 and odd kernels"):
        ConvolutionSpec(kernel=(2, 3, 3), is_submanifold=True)
    with pytest.raises(InvalidValueError, match="stride >= 1"):
        ConvolutionSpec(stride=(0, 1, 1))
