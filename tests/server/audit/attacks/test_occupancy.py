"""The occupancy attack."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from server.audit.attack import Spent, Workbench
from server.audit.attacks.occupancy import Occupancy, OccupancyConfig
from server.audit.networks.occupancy_decoder import OccupancyDecoderConfig
from server.audit.point_measures import f_score, nearest
from server.audit.scores import random_points
from shared_models import codecs
from shared_models.errors import BackboneMismatchError, InvalidValueError

SMALL = OccupancyDecoderConfig(width=12)
QUICK = OccupancyConfig(decoder=SMALL, steps=40, learning_rate=1e-2)
PEAK_M = 20.0


@pytest.fixture(scope="module")
def from_conv_out(small_view):
    attack = Occupancy(QUICK)
    attack.prepare(small_view("conv_out"), Workbench(seed=5))
    return attack


def test_it_learns_and_beats_random_points(from_conv_out, small_view, small_victim) -> None:
    losses = from_conv_out.last_fit.losses
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])
    view = small_view("conv_out")
    found = from_conv_out.reconstruct(view.payloads[0])
    floor = random_points(len(found.points), view.geometry, seed=0)
    scores = [f_score(nearest(small_victim, each.points, PEAK_M), 0.2) for each in (found, floor)]
    assert scores[0] > scores[1] + 0.1


def test_places_lie_in_their_voxels(from_conv_out, small_view) -> None:
    found = from_conv_out.reconstruct(small_view("conv_out").payloads[0])
    assert len(found.points) == len(found.cells) == len(found.confidence) > 0
    inside = (found.points[:, :3].astype(np.float64) - (0, -6.4, -3)) / (0.2, 0.2, 0.1) - found.cells
    assert inside.min() > -1e-3
    assert inside.max() < 1 + 1e-3
    assert 0 <= found.points[:, 3].min() <= found.points[:, 3].max() <= 1


def test_the_spread_is_bounded_by_the_uploaded_cells(from_conv_out, small_view) -> None:
    """However many cells seem likely, each scale keeps at most what calibration allows."""
    payload = small_view("conv_out").payloads[0]
    decoder = from_conv_out._decoder
    bias = decoder.scales[-1].judge.bias
    with torch.no_grad():
        bias += 100
        cells = from_conv_out._search(codecs.decode(payload).grid).cells
        bias -= 100
    # at each scale, and beside that one for every cell above
    assert len(cells) <= np.ceil(np.asarray(from_conv_out._most) * len(codecs.decode(payload).grid)).sum() + len(
        codecs.decode(payload).grid
    )


def test_from_conv1_the_voxels_themselves_are_known(small_view, small_victim) -> None:
    attack = Occupancy(QUICK)
    attack.prepare(small_view("conv1"), Workbench())
    found = attack.reconstruct(small_view("conv1").payloads[0])
    voxels = np.unique(
        np.floor((small_victim[:, :3] - np.float32((0, -6.4, -3))) / np.float32((0.2, 0.2, 0.1))), axis=0
    )
    assert np.array_equal(np.unique(found.cells, axis=0), voxels.astype(np.int64))


@pytest.mark.parametrize("layer", ["conv2", "conv3", "conv4"])
def test_every_layer_works(layer: str, small_view) -> None:
    attack = Occupancy(OccupancyConfig(decoder=SMALL, steps=2))
    attack.prepare(small_view(layer, scenes=2), Workbench())
    assert len(attack.reconstruct(small_view(layer).payloads[0]).points) > 0


def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path, small_view, from_conv_out) -> None:
    view, payload = small_view("conv_out"), small_view("conv_out").payloads[0]

    class InterruptionError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        assert total == QUICK.steps
        if done == 15:
            raise InterruptionError

    import server.audit.networks.fitting as fitting

    saved, fitting.SAVE_EVERY_S = fitting.SAVE_EVERY_S, 0.0
    try:
        with pytest.raises(InterruptionError):
            Occupancy(QUICK).prepare(view, Workbench(seed=5, folder=tmp_path, progress=stop))
    finally:
        fitting.SAVE_EVERY_S = saved
    told: list[int] = []
    again = Occupancy(QUICK)
    again.prepare(view, Workbench(seed=5, folder=tmp_path, progress=lambda done, total: told.append(done)))
    assert told[0] == 15  # step 14 was the last one saved
    assert again.last_fit.losses == from_conv_out.last_fit.losses
    assert np.array_equal(again.reconstruct(payload).points, from_conv_out.reconstruct(payload).points)
    third = Occupancy(QUICK)
    third.prepare(view, Workbench(seed=5, folder=tmp_path, progress=lambda *_: pytest.fail("all is done")))
    assert np.array_equal(third.reconstruct(payload).points, again.reconstruct(payload).points)


def test_budgets_are_kept(small_view) -> None:
    attack = Occupancy(QUICK)
    attack.prepare(small_view("conv_out", scenes=2, steps=3), Workbench())
    assert attack.spent() == Spent(steps=3, is_cut=False)
    attack.prepare(small_view("conv_out", scenes=2, seconds=0.0), Workbench())
    assert attack.spent() == Spent(steps=0, is_cut=True)
    assert Occupancy(QUICK).spent() == Spent()


def test_what_it_cannot_work_with_is_refused(from_conv_out, small_view) -> None:
    with pytest.raises(BackboneMismatchError, match="conv1"):
        from_conv_out.reconstruct(small_view("conv1").payloads[0])
    with pytest.raises(InvalidValueError, match="prepare"):
        Occupancy().reconstruct(b"")
    with pytest.raises(InvalidValueError, match="reached for paired"):
        Occupancy().prepare(small_view("conv_out").restricted_to(frozenset()), Workbench())
