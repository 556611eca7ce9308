"""Active voxels at each stage of the SECOND backbone: they follow from coordinates alone, so no weights are needed."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from shared_models.backbones.second import DOWNSAMPLING, MERGE_SLICES
from shared_models.backbones.voxelizer import VoxelConfig, crop_to_range, voxelize
from shared_models.sparse.rulebook_engine import RulebookEngine

STAGES: Final = ("conv1", "conv2", "conv3", "conv4", "conv_out")
UNLIMITED: Final = 2**31 - 1  # the detectors' limit of voxels a scan would hide differences


def active_voxels(points: NDArray[np.float32], config: VoxelConfig | None = None) -> dict[str, int]:
    """Number of active cells of `STAGES`; conv1 has exactly the occupied voxels.

    points: (N, >=4) float32 [x y z intensity ...], metres, origin in the sensor. config: that of `kitti` by default.
    """
    config = config or VoxelConfig()
    scan = crop_to_range(torch.from_numpy(np.ascontiguousarray(points[:, :4])), config)
    sites = voxelize([scan], config, max_voxels=UNLIMITED).cells.sites
    counts, engine = [len(sites)], RulebookEngine()
    for spec in (*DOWNSAMPLING, MERGE_SLICES):
        sites = engine.plan(sites, spec).outputs
        counts.append(len(sites))
    return dict(zip(STAGES, counts, strict=True))
