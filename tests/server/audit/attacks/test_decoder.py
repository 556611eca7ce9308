"""The paper's decoder as an attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from server.audit.attack import Spent, Workbench
from server.audit.attacks.decoder import Decoder, DecoderConfig
from server.audit.networks.dense_blocks import voxel_centres_m
from server.audit.networks.dense_restoring import DenseRestorer, Positions
from server.audit.networks.own_scenes import OwnScene, read_own_scenes
from server.audit.networks.paper_decoder import PaperDecoder
from server.audit.networks.payload_reader import PayloadReader
from shared_models import codecs
from shared_models.errors import BackboneMismatchError, InvalidValueError, PayloadError, UnknownNameError

QUICK = DecoderConfig(steps=40, window_cells=16, tile_cells=64, learning_rate=5e-3, calibration_scenes=1)


@pytest.fixture(scope="module")
def from_conv1(small_view):
    attack = Decoder(QUICK)
    attack.prepare(small_view("conv1"), Workbench(seed=3))
    return attack


def test_it_learns_and_restores_the_voxels_of_conv1(from_conv1, small_view, small_victim, silent) -> None:
    make, scene = silent
    with torch.no_grad():
        learned, nothing = (
            float(each.loss(scene, 64, torch.Generator(), QUICK.occupied_weight))
            for each in (from_conv1._restorer, make("voxel"))
        )
    assert learned < 0.75 * nothing
    found = from_conv1.reconstruct(small_view("conv1").payloads[0])
    voxels = {tuple(row) for row in np.floor((small_victim[:, :3] - (0, -6.4, -3)) / (0.2, 0.2, 0.1)).astype(int)}
    hits = sum(tuple(row) in voxels for row in found.cells.tolist())
    density = len(voxels) / (40 * 64 * 64)
    assert hits > 20 * density * len(found.cells) > 0
    inside = np.floor((found.points[:, :3].astype(np.float64) - (0, -6.4, -3)) / (0.2, 0.2, 0.1) + 1e-4)
    assert np.abs(inside - found.cells).max() <= 1  # up to rounding at a voxel's border


def test_the_same_seed_gives_the_same_scan(small_view) -> None:
    view, made = small_view("conv1", scenes=2), []
    for seed in (3, 3, 4):
        attack = Decoder(replace(QUICK, steps=4))
        attack.prepare(view, Workbench(seed=seed))
        made.append((attack.last_fit.losses, attack.reconstruct(view.payloads[0]).points.tobytes()))
    assert made[0] == made[1]
    assert made[0] != made[2]


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


def test_what_was_spent_is_told(from_conv1, small_view) -> None:
    assert Decoder(QUICK).spent() == Spent()
    assert from_conv1.spent() == Spent(steps=40, is_cut=False)
    attack = Decoder(QUICK)
    attack.prepare(small_view("conv1", seconds=0.0), Workbench())
    assert attack.spent() == Spent(steps=0, is_cut=True)


@pytest.fixture
def silent(small_view) -> tuple[Callable[[Positions], DenseRestorer], OwnScene]:
    """Makes restorers with a network that gives zeros, and a scene."""
    view = small_view("conv1", scenes=1)
    pairs = view.own_scenes()
    reader = PayloadReader.of(pairs[0].payload)
    scene = read_own_scenes(pairs, view.geometry, reader)[0]
    network = PaperDecoder("conv1", reader.channels)
    torch.nn.init.zeros_(network.layers[-1].weight)
    torch.nn.init.zeros_(network.layers[-1].bias)

    def make(positions: Positions) -> DenseRestorer:
        return DenseRestorer(geometry=view.geometry, network=network, scale=1.0, positions=positions)

    return make, scene


def test_the_loss_is_the_mean_squared_error_of_the_window(silent) -> None:
    """A network that gives nothing leaves the mean of the squared targets."""
    make, scene = silent
    means = scene.voxels.features.double()
    size, low = torch.tensor((0.2, 0.2, 0.1)), torch.tensor((0.0, -6.4, -3.0))
    middles = low + (scene.voxels.sites.coords[:, 1:].flip(1) + 0.5) * size
    targets = {"metres": means[:, :3] / 10, "voxel": (means[:, :3] - middles) / size + 1}
    for positions, places in targets.items():
        squares = float(places.square().sum() + means[:, 3].square().sum()) / (4 * 41 * 64 * 64)
        for weight in (1.0, 7.0):
            loss = make(positions).loss(scene, 64, torch.Generator().manual_seed(0), weight)
            assert float(loss.detach()) == pytest.approx(weight * squares, rel=1e-4)


@pytest.mark.parametrize("positions", ["voxel", "metres"])
def test_a_prediction_that_only_shrinks_gives_back_the_voxels_means(positions: Positions, silent) -> None:
    make, scene = silent
    restorer, coords, means = make(positions), scene.voxels.sites.coords[:, 1:], scene.voxels.features
    values = 0.3 * restorer._targets(coords, means)
    centres = voxel_centres_m(coords, restorer.geometry.point_range_m, restorer.geometry.voxel_size_m)
    usual = restorer._usual(centres)
    lengths = (values[:, :3] * usual).sum(1) / usual.square().sum(1)
    found = restorer._points(values, lengths, centres)
    # The projection takes a point's offset along the view for a part of its length: at most a voxel of it is lost.
    assert (found[:, :3] - means[:, :3]).abs().max() <= 0.2 + 1e-4
    assert (found[:, :3] - means[:, :3]).norm(dim=1).median() < (means[:, :3] - centres).norm(dim=1).median()
