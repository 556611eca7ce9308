"""The paper's decoder as an attack."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from server.audit.attack import Workbench
from server.audit.attacks.decoder import Decoder, DecoderConfig
from server.audit.networks.dense_restoring import DenseRestorer
from server.audit.networks.paper_decoder import PaperDecoder
from shared_models import codecs
from shared_models.errors import BackboneMismatchError, InvalidValueError, PayloadError, UnknownNameError

QUICK = DecoderConfig(steps=20, window_cells=16, tile_cells=64, learning_rate=5e-3, calibration_scenes=1)


@pytest.fixture(scope="module")
def from_conv1(small_view):
    attack = Decoder(QUICK)
    attack.prepare(small_view("conv1"), Workbench(seed=3))
    return attack


def test_it_learns_and_restores_the_voxels_of_conv1(from_conv1, small_view, small_victim) -> None:
    losses = from_conv1.last_fit.losses
    assert np.mean(losses[-6:]) < 0.6 * np.mean(losses[:6])
    found = from_conv1.reconstruct(small_view("conv1").payloads[0])
    voxels = {tuple(row) for row in np.floor((small_victim[:, :3] - (0, -6.4, -3)) / (0.2, 0.2, 0.1)).astype(int)}
    hits = sum(tuple(row) in voxels for row in found.cells.tolist())
    density = len(voxels) / (40 * 64 * 64)
    assert hits > 20 * density * len(found.cells) > 0
    inside = np.floor((found.points[:, :3].astype(np.float64) - (0, -6.4, -3)) / (0.2, 0.2, 0.1) + 1e-4)
    assert np.abs(inside - found.cells).max() <= 1  # up to rounding at a voxel's border


def test_the_same_seed_gives_the_same_scan(from_conv1, small_view) -> None:
    again = Decoder(QUICK)
    again.prepare(small_view("conv1"), Workbench(seed=3))
    payload = small_view("conv1").payloads[0]
    assert np.array_equal(again.reconstruct(payload).points, from_conv1.reconstruct(payload).points)
    assert again.last_fit.losses == from_conv1.last_fit.losses


def test_parts_together_are_the_whole_map(from_conv1, small_view) -> None:
    restorer: DenseRestorer = from_conv1._restorer
    grid = codecs.decode(small_view("conv1").payloads[0]).grid
    one, many = (restorer.restore(grid, side, 300) for side in (64, 13))
    assert torch.equal(one.cells, many.cells)
    torch.testing.assert_close(one.points, many.points, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("layer", ["conv3", "conv_out"])
def test_deeper_layers_work_too(layer: str, small_view) -> None:
    attack = Decoder(DecoderConfig(steps=2, window_cells=16, calibration_scenes=1))
    attack.prepare(small_view(layer, scenes=2), Workbench())
    found = attack.reconstruct(small_view(layer).payloads[0])
    assert found.points.shape[1] == 4
    assert attack.last_fit.steps == 2


def test_payloads_of_another_layer_or_damaged_ones_are_refused(from_conv1, small_view) -> None:
    with pytest.raises(BackboneMismatchError, match="conv_out"):
        from_conv1.reconstruct(small_view("conv_out").payloads[0])
    with pytest.raises(PayloadError):
        from_conv1.reconstruct(small_view("conv1").payloads[0][:-7])


def test_what_it_cannot_work_with_is_refused(small_view) -> None:
    with pytest.raises(InvalidValueError, match="at least 2 scenes"):
        Decoder(QUICK).prepare(small_view("conv1", scenes=1), Workbench())
    with pytest.raises(InvalidValueError, match="got none"):
        Decoder(QUICK).prepare(small_view("conv1", scenes=0), Workbench())
    with pytest.raises(UnknownNameError, match="conv3"):
        Decoder(QUICK).prepare(small_view("conv2"), Workbench())
    with pytest.raises(InvalidValueError, match="prepare"):
        Decoder(QUICK).reconstruct(b"")


def test_the_loss_is_the_mean_squared_error_of_the_window(small_view) -> None:
    """An untrained network whose last layer gives nothing leaves the mean of the squared targets."""
    from server.audit.networks.own_scenes import read_own_scenes
    from server.audit.networks.payload_reader import PayloadReader

    view = small_view("conv1", scenes=1)
    pairs = view.own_scenes()
    reader = PayloadReader.of(pairs[0].payload)
    scene = read_own_scenes(pairs, view.geometry, reader)[0]
    network = PaperDecoder("conv1", reader.channels)
    torch.nn.init.zeros_(network.layers[-1].weight)
    torch.nn.init.zeros_(network.layers[-1].bias)
    restorer = DenseRestorer(geometry=view.geometry, network=network, scale=1.0)
    loss = restorer.loss(scene, 64, torch.Generator().manual_seed(0))
    means = scene.voxels.features.double()
    squares = (means[:, :3] / 10).square().sum() + means[:, 3].square().sum()
    assert float(loss.detach()) == pytest.approx(float(squares) / (4 * 41 * 64 * 64), rel=1e-5)
