"""The white-box optimisation attack."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from server.audit.attack import Spent, Workbench
from server.audit.attacks.active_cells import ActiveCells
from server.audit.attacks.occupancy import Occupancy, OccupancyConfig
from server.audit.attacks.optimisation import Optimisation, OptimisationConfig
from server.audit.networks.gated_backbone import mismatch, run_gated
from server.audit.networks.occupancy_decoder import OccupancyDecoderConfig
from server.audit.networks.own_scenes import voxel_config
from server.audit.networks.point_search import PointSearch, PointSearchConfig
from server.audit.point_measures import nearest
from shared_models import codecs
from shared_models.backbones.voxelizer import voxelize
from shared_models.errors import BackboneMismatchError, InvalidValueError
from shared_models.sparse.sites import Sites
from shared_models.sparse.tensor import SparseFeatures, collate

SEARCH = PointSearchConfig(steps=80, restarts=1, revise_every=40, drop_share=0.0)


def voxels_of(view, scan) -> SparseFeatures:
    return voxelize([torch.from_numpy(scan)], voxel_config(view.geometry)).cells


@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3", "conv4", "conv_out"])
def test_open_gates_change_nothing(layer: str, small_view, small_victim) -> None:
    view = small_view(layer)
    voxels = voxels_of(view, small_victim)
    with torch.no_grad():
        found = run_gated(view.white_box().backbone_3d, voxels, torch.ones(len(voxels.sites)), layer)
    expected = getattr(view.white_box().backbone_3d(voxels), layer)
    assert torch.equal(found.sites.coords, expected.sites.coords)
    assert torch.equal(found.features, expected.features)


def test_mismatch_is_that_of_dense_maps() -> None:
    generator = torch.Generator().manual_seed(0)

    def sparse(rows: list[int]) -> SparseFeatures:
        coords = torch.tensor([[0, 0, 0, x] for x in rows], dtype=torch.int32).reshape(-1, 4)
        sites = Sites(coords=coords, shape=(1, 1, 9), batch_size=1)
        return SparseFeatures(sites=sites, features=torch.randn(len(rows), 3, generator=generator))

    one, two, none = sparse([0, 2, 5]), sparse([2, 3, 5, 8]), sparse([])
    expected = (one.bev_map() - two.bev_map()).square().sum() / two.bev_map().square().sum()
    assert float(mismatch(one, two)) == pytest.approx(float(expected))
    assert float(mismatch(two, two)) == 0
    assert float(mismatch(none, two)) == pytest.approx(1)


def test_points_move_to_where_they_were(small_view, small_victim) -> None:
    """From the middles of the right voxels, conv1's features lead closer to the points."""
    view = small_view("conv1")
    attack = Optimisation(OptimisationConfig(start="active_cells", search=SEARCH))
    attack.prepare(view, Workbench())
    found = attack.reconstruct(view.payloads[0])
    truth = voxels_of(view, small_victim).features.numpy()
    start = attack._first(view.payloads[0]).features.numpy()
    before, after = (np.abs(each[:, :3] - truth[:, :3]).mean() for each in (start, found.points))
    assert after < 0.85 * before
    again = attack.reconstruct(view.payloads[0])
    assert np.array_equal(again.points, found.points)


def test_voxels_that_were_never_there_are_dropped(small_view, small_victim) -> None:
    view = small_view("conv2")
    truth = voxels_of(view, small_victim)
    wrong = np.random.default_rng(0).uniform([1, -6, 0, 0], [12, 6, 0.9, 1], (60, 4)).astype(np.float32)
    start = voxels_of(view, np.concatenate((small_victim, wrong)))
    target = collate([codecs.decode(view.payloads[0]).grid])
    config = PointSearchConfig(steps=24, restarts=1, revise_every=2, drop_share=0.05)
    found = PointSearch(view.white_box().backbone_3d, view.geometry, config).run(target, start, lambda number: number)
    peak = 20.0
    kept = nearest(truth.features.numpy(), found.voxels.features.numpy(), peak)
    begun = nearest(truth.features.numpy(), start.features.numpy(), peak)
    assert (kept.from_found > 0.3).sum() < 0.8 * (begun.from_found > 0.3).sum()
    assert found.mismatch < 1


def test_it_never_ends_worse_than_it_starts(small_view) -> None:
    view = small_view("conv_out")
    config = PointSearchConfig(steps=4, restarts=2)
    attack = Optimisation(OptimisationConfig(start="active_cells", search=config))
    attack.prepare(view, Workbench())
    target, start = collate([codecs.decode(view.payloads[0]).grid]), attack._first(view.payloads[0])
    found = attack._search.run(target, start, lambda number: number)
    assert found.mismatch <= float(attack._search.mismatch(start, target))


def test_what_it_cannot_work_with_is_refused(small_view) -> None:
    attack = Optimisation(OptimisationConfig(start="active_cells", search=SEARCH))
    with pytest.raises(InvalidValueError, match="reached for white_box"):
        attack.prepare(small_view("conv1").restricted_to(frozenset()), Workbench())
    attack.prepare(small_view("conv1"), Workbench())
    with pytest.raises(BackboneMismatchError, match="conv_out"):
        attack.reconstruct(small_view("conv_out").payloads[0])


def test_it_starts_from_the_strongest_attack_that_the_threat_allows(small_view) -> None:
    """Own scans are used where a threat gives them, though the attack can do without; and their training is told."""
    view = small_view("conv1", scenes=2)
    shown = view.restricted_to(Optimisation.needs | Optimisation.may_use)
    trained = Optimisation(OptimisationConfig(start_settings={"steps": 3, "decoder": {"width": 4}}))
    trained.prepare(shown, Workbench())
    assert isinstance(trained._start, Occupancy)
    assert trained._start.config == OccupancyConfig(steps=3, decoder=OccupancyDecoderConfig(width=4))
    assert trained.spent() == Spent(steps=3)
    bare = Optimisation()
    assert bare.spent() == Spent()
    bare.prepare(view.restricted_to(Optimisation.needs), Workbench())
    assert isinstance(bare._start, ActiveCells)
    assert bare.spent() == Spent()
