from __future__ import annotations

import pytest
import torch

from shared_models.backbones.second import BackboneConfig, SecondBackbone, output_shape
from shared_models.sparse import create_engine
from shared_models.sparse.tensor import SparseFeatures
from tests.shared_models.sparse.reference import random_sites

CONFIG = BackboneConfig(stage_channels=(4, 4, 8, 8), out_channels=16)


def make_backbone() -> SecondBackbone:
    torch.manual_seed(0)
    return SecondBackbone(4, CONFIG, create_engine("rulebook")).eval()


def random_voxels(counts: list[int]) -> SparseFeatures:
    sites = random_sites(0, (41, 32, 40), counts)
    return SparseFeatures(sites=sites, features=torch.rand(len(sites), 4))


@pytest.mark.parametrize(
    ("sparse_shape", "expected"),
    [((41, 1600, 1408), (2, 200, 176)), ((41, 1504, 1504), (2, 188, 188)), ((41, 400, 352), (2, 50, 44))],
)
def test_output_shapes_of_the_settings(sparse_shape, expected) -> None:
    assert output_shape(sparse_shape) == expected


def test_a_batch_gives_what_its_scans_give_alone() -> None:
    backbone, batch = make_backbone(), random_voxels([300, 0, 200])
    together = backbone(batch).conv_out
    assert together.sites.batch_size == 3
    for number in range(3):
        alone = batch.scan(number)
        sites = type(batch.sites)(
            coords=torch.nn.functional.pad(alone.coords, (1, 0)), shape=batch.sites.shape, batch_size=1
        )
        single = backbone(SparseFeatures(sites=sites, features=alone.features)).conv_out.scan(0)
        assert torch.equal(together.scan(number).coords, single.coords)
        torch.testing.assert_close(together.scan(number).features, single.features)


@pytest.mark.parametrize("is_training", [False, True])
def test_a_batch_without_any_voxel(is_training: bool) -> None:
    backbone = make_backbone().train(is_training)
    stages = backbone(random_voxels([0, 0]))
    assert len(stages.conv_out.sites) == 0
    assert stages.conv_out.features.shape == (0, 16)
    assert stages.conv_out.bev_map().shape == (2, 32, 4, 5)


def test_a_single_voxel_can_be_trained_on() -> None:
    stages = make_backbone().train()(random_voxels([1]))
    assert torch.isfinite(stages.conv_out.features).all()


def test_gradients_reach_voxels_and_every_parameter() -> None:
    backbone, voxels = make_backbone().train(), random_voxels([300])
    features = voxels.features.requires_grad_()
    backbone(SparseFeatures(sites=voxels.sites, features=features)).conv_out.features.square().sum().backward()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in backbone.parameters())
