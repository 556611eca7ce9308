"""The decoders of the paper's supplement, Tables 5 to 7."""

from __future__ import annotations

import pytest
import torch

from server.audit.networks.dense_blocks import dense_block
from server.audit.networks.dense_restoring import initialise
from server.audit.networks.paper_decoder import PaperDecoder, Window, parameter_count
from shared_models.errors import InvalidValueError, UnknownNameError

# Supplement, Tables 5 to 7: input, and the output of every transposed convolution, as C x D x H x W.
PRINTED = {
    "conv1": ((16, 41, 400, 352), [(4, 41, 400, 352)], 22_516),
    "conv3": ((64, 11, 100, 88), [(32, 21, 200, 176), (16, 41, 400, 352), (4, 41, 400, 352)], 402_868),
    "conv_out": (
        (128, 2, 50, 44),
        [(64, 5, 50, 44), (64, 11, 100, 88), (32, 21, 200, 176), (16, 41, 400, 352), (4, 41, 400, 352)],
        1_951_476,
    ),
}


@pytest.mark.parametrize("layer", PRINTED)
def test_shapes_and_parameter_counts_are_the_printed_ones(layer: str) -> None:
    shape, outputs, parameters = PRINTED[layer]
    with torch.device("meta"):  # shapes alone: the maps themselves take gigabytes
        network = PaperDecoder(layer, shape[0])
        maps = torch.zeros(1, *shape)
        for number, module in enumerate(network.layers):
            maps = module(maps)
            if number < 3:
                assert tuple(maps.shape[1:]) == shape
            else:
                assert tuple(maps.shape[1:]) == outputs[number - 3]
    assert len(network.layers) == 3 + len(outputs)
    assert parameter_count(network) == parameters


@pytest.mark.parametrize("layer", PRINTED)
@pytest.mark.parametrize("place", [(0, 9, 0, 8), (7, 20, 5, 17), (33, 48, 40, 56), (0, 48, 0, 56), (23, 24, 31, 32)])
def test_a_window_holds_what_the_whole_map_holds(layer: str, place: tuple[int, int, int, int]) -> None:
    stride = {"conv1": 1, "conv3": 4, "conv_out": 8}[layer]
    depth = {"conv1": 5, "conv3": 3, "conv_out": 2}[layer]
    network = PaperDecoder(layer, 3).double()
    initialise(network, 0)
    for module in network.layers:
        torch.nn.init.uniform_(module.bias, -1, 1, generator=torch.Generator().manual_seed(1))  # so that borders matter
    maps = torch.randn(1, 3, depth, 48 // stride, 56 // stride, generator=torch.Generator().manual_seed(2)).double()
    window = Window(low_y=place[0], high_y=place[1], low_x=place[2], high_x=place[3])
    with torch.no_grad():
        whole = network(maps)
        part = network.decode_window(
            lambda w: maps[..., w.low_y : w.high_y, w.low_x : w.high_x], (48 // stride, 56 // stride), window
        )
    expected = whole[..., place[0] : place[1], place[2] : place[3]]
    torch.testing.assert_close(part, expected, rtol=1e-9, atol=1e-11)


def test_a_window_reads_no_more_than_it_depends_on() -> None:
    network = PaperDecoder("conv_out", 2)
    before = network.windows_before((50, 44), Window(low_y=160, high_y=200, low_x=80, high_x=120))[0]
    # 5 cells of 8 voxels, 3 for the convolutions and at most 3 for the transposed ones on each side
    assert before.size[0] <= 5 + 12
    assert before.size[1] <= 5 + 12


def test_windows_beyond_the_map_are_refused() -> None:
    network = PaperDecoder("conv3", 2)
    with pytest.raises(InvalidValueError, match="inside"):
        network.windows_before((10, 10), Window(low_y=0, high_y=41, low_x=0, high_x=10))
    with pytest.raises(InvalidValueError):
        Window(low_y=3, high_y=3, low_x=0, high_x=1)


def test_layers_without_a_table_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="conv_out"):
        PaperDecoder("conv2", 32)


def test_dense_blocks_hold_the_cells_of_their_window() -> None:
    coords = torch.tensor([[0, 1, 1], [0, 2, 3], [1, 2, 3], [1, 5, 5]], dtype=torch.int32)
    features = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]])
    block = dense_block(coords, features, 2, Window(low_y=2, high_y=4, low_x=2, high_x=5))
    expected = torch.zeros(1, 2, 2, 2, 3)
    expected[0, :, 0, 0, 1] = torch.tensor([2.0, 20.0])
    expected[0, :, 1, 0, 1] = torch.tensor([3.0, 30.0])
    assert torch.equal(block, expected)
