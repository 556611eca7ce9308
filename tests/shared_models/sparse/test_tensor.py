from __future__ import annotations

import torch

from shared_models.records import GridFeatures
from shared_models.sparse.tensor import SparseFeatures, collate
from tests.shared_models.sparse.reference import random_sites


def test_bev_map_puts_every_feature_in_its_place() -> None:
    sites = random_sites(2, (2, 4, 5), [9, 0, 13])
    features = torch.randn(len(sites), 3, generator=torch.Generator().manual_seed(2))
    expected = torch.zeros(3, 3 * 2, 4, 5)
    for (b, z, y, x), row in zip(sites.coords.tolist(), features, strict=True):
        for channel in range(3):
            expected[b, channel * 2 + z, y, x] = row[channel]
    assert torch.equal(SparseFeatures(sites=sites, features=features).bev_map(), expected)


def test_bev_map_carries_gradients() -> None:
    sites = random_sites(2, (2, 3, 3), [5])
    features = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: SparseFeatures(sites=sites, features=f).bev_map(), (features,))


def test_collate_and_scan_are_inverse_also_for_an_empty_scene() -> None:
    sites = random_sites(4, (2, 4, 4), [6, 0, 8])
    batch = SparseFeatures(sites=sites, features=torch.randn(len(sites), 3))
    scenes = [batch.scan(index) for index in range(3)]
    assert [len(scene) for scene in scenes] == [6, 0, 8]
    assert all(isinstance(scene, GridFeatures) for scene in scenes)
    again = collate(scenes)
    assert torch.equal(again.sites.coords, sites.coords)
    assert torch.equal(again.features, batch.features)
