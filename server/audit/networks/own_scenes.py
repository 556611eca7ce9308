"""The attacker's own scenes as a network learns from them: features, and the voxels that they were made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.audit.networks.payload_reader import PayloadReader
from server.audit.threat import PairedScene
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.backbones.voxelizer import VoxelConfig, crop_to_range, voxelize
from shared_models.errors import InvalidValueError
from shared_models.records import GridFeatures
from shared_models.sparse.tensor import SparseFeatures

_ALL: Final = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnScene:
    """One scene of the attacker's own.

    grid: its features as a payload holds them.
    voxels: V occupied input voxels with (V, 4) means of x, y, z (metres) and intensity.
    points: (N, 4) float32 [x y z intensity], metres, LiDAR frame.
    """

    grid: GridFeatures
    voxels: SparseFeatures
    points: NDArray[np.float32]


def voxel_config(geometry: CutGeometry) -> VoxelConfig:
    """How the vehicles cut space into voxels: public, like the geometry."""
    return VoxelConfig(
        point_range_m=geometry.point_range_m,
        voxel_size_m=geometry.voxel_size_m,
        max_voxels=_ALL,
        max_voxels_training=_ALL,
    )


def read_own_scenes(scenes: Sequence[PairedScene], geometry: CutGeometry, reader: PayloadReader) -> list[OwnScene]:
    """Features and voxels of each scene.

    Raises:
        SenderError: a payload is damaged, or of another layer or backbone than the first.
    """
    config = voxel_config(geometry)
    found = []
    for scene in scenes:
        points = torch.from_numpy(np.ascontiguousarray(scene.points))
        voxels = voxelize([crop_to_range(points, config)], config).cells
        found.append(OwnScene(grid=reader.read(scene.payload), voxels=voxels, points=scene.points))
    return found


def part_for_calibration(scenes: list[OwnScene], share: float, attack: str) -> tuple[list[OwnScene], list[OwnScene]]:
    """Scenes to train on, and the last `share` of them (at least one) on which thresholds are chosen.

    The last ones, because scenes come in driving order and neighbours look alike.

    Raises:
        InvalidValueError: fewer than two scenes.
    """
    if len(scenes) < 2:
        raise InvalidValueError(
            f"attack {attack!r}: expected at least 2 scenes of the attacker's own, one to train on and one to choose "
            f"thresholds on, got {len(scenes)}; raise the threat's budget.scenes"
        )
    count = min(len(scenes) - 1, max(1, round(share * len(scenes))))
    return scenes[:-count], scenes[-count:]


def channel_scale(scenes: Sequence[OwnScene]) -> Tensor:
    """(C,) root mean square of each feature channel over the active cells, 1 where it is silent."""
    channels = scenes[0].grid.features.shape[1]
    total, cells = torch.zeros(channels, dtype=torch.float64), 0
    for scene in scenes:
        total += scene.grid.features.double().square().sum(0)
        cells += len(scene.grid)
    scale = (total / max(cells, 1)).sqrt().float()
    return torch.where(scale > 0, scale, torch.ones_like(scale))
