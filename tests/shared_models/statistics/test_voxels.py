from __future__ import annotations

import numpy as np
import torch

from shared_models.backbones.second import BackboneConfig, SecondBackbone
from shared_models.backbones.voxelizer import VoxelConfig, crop_to_range, voxelize
from shared_models.sparse import create_engine
from shared_models.statistics.voxels import STAGES, active_voxels
from tests.sample_folders import scan

CONFIG = VoxelConfig(point_range_m=(0.0, -8.0, -3.0, 16.0, 8.0, 1.0), voxel_size_m=(0.1, 0.1, 0.1))


def test_the_counts_are_those_of_the_backbone_itself():
    points = np.column_stack([scan(2000), np.zeros(2050)]).astype(np.float32)
    engine = create_engine("rulebook")
    backbone = SecondBackbone(4, BackboneConfig(stage_channels=(2, 2, 2, 2), out_channels=2), engine).eval()
    with torch.no_grad():
        stages = backbone(voxelize([crop_to_range(torch.from_numpy(points), CONFIG)], CONFIG).cells)
    assert active_voxels(points, CONFIG) == {stage: len(getattr(stages, stage).sites) for stage in STAGES}


def test_no_points_have_no_voxels():
    assert set(active_voxels(np.empty((0, 4), np.float32)).values()) == {0}
