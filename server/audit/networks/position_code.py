"""Where a cell lies, as a LiDAR sees it: what an attacker knows of the sensor before he looks at any feature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shared_models.backbones.cut_geometry import CutGeometry

LOW_DEG: Final = -45.0
HIGH_DEG: Final = 45.0
BINS_PER_DEG: Final = 50
_BINS: Final = round((HIGH_DEG - LOW_DEG) * BINS_PER_DEG)
_SMOOTH: Final = BINS_PER_DEG  # the profile is told relative to its mean over one degree
CODES: Final = 6


class PositionCode(nn.Module):
    """Codes of cells: x, y, z, distance, its logarithm, and how often beams meet the cell's elevation.

    A spinning LiDAR's beams keep their elevations, so that which cells they can meet at all follows from a profile over
    elevation, taken from the attacker's own scans.
    """

    profile: Tensor
    """(bins + 1,) cumulative sum of the beams' relative density over elevation."""

    def __init__(self, geometry: CutGeometry) -> None:
        super().__init__()
        self.geometry = geometry
        self.point_range_m, self.voxel_size_m = geometry.point_range_m, geometry.voxel_size_m
        self.register_buffer("profile", torch.arange(_BINS + 1, dtype=torch.float32))

    def learn(self, scans: Sequence[NDArray[np.float32]]) -> None:
        """Take the profile from scans, each (N, 3 or more) float32 [x y z ...], metres."""
        counts = np.zeros(_BINS)
        for points in scans:
            degrees = np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
            counts += np.histogram(degrees, _BINS, (LOW_DEG, HIGH_DEG))[0]
        around = np.convolve(counts, np.full(_SMOOTH, 1 / _SMOOTH), "same")
        density = np.clip((counts + 0.1) / (around + 0.1), 0.0, 10.0)
        self.profile.copy_(torch.from_numpy(np.concatenate(([0.0], np.cumsum(density))).astype(np.float32)))

    def forward(self, coords: Tensor, layer: str) -> Tensor:
        """(V, CODES) float32 of cells (V, 4) int32 [batch z y x] of `layer`."""
        geometry = replace(self.geometry, split_layer=layer)
        step = coords.new_tensor(geometry.stride[::-1], dtype=torch.float32)
        offset = coords.new_tensor(geometry.offset[::-1], dtype=torch.float32)
        size = coords.new_tensor(self.voxel_size_m, dtype=torch.float32)
        low = coords.new_tensor(self.point_range_m[:3], dtype=torch.float32)
        centres = low + (coords[:, 1:].flip(1).float() * step + offset + 0.5) * size
        x, y, z = centres.unbind(1)
        ground = torch.hypot(x, y)
        distance = torch.hypot(ground, z).clamp(min=0.1)
        reach = float(np.abs(self.point_range_m[:2] + self.point_range_m[3:5]).max())
        beams = self._beams(z, ground, distance, step * size)
        return torch.stack((x / reach, y / reach, z / 2, ground / reach, torch.log(distance) - 2, beams), 1)

    def _beams(self, z: Tensor, ground: Tensor, distance: Tensor, extent_m: Tensor) -> Tensor:
        """Mean density of beams over the elevations that each cell spans, 0 where it is as everywhere."""
        elevation = torch.atan2(z, ground)
        across = extent_m[2] * ground / distance + extent_m[:2].mean() * z.abs() / distance
        half = (0.5 * across / distance).clamp(max=math.radians(20))
        ends = [((torch.rad2deg(elevation + turn) - LOW_DEG) * BINS_PER_DEG) for turn in (-half, half)]
        low, high = (self._cumulative(end) for end in ends)
        return (high - low) / (ends[1] - ends[0]).clamp(min=1e-3) - 1

    def _cumulative(self, position: Tensor) -> Tensor:
        """The profile between its bins, linearly."""
        position = position.clamp(0, _BINS - 1e-3)
        index = position.long()
        below, above = self.profile[index], self.profile[index + 1]
        return below + (above - below) * (position - index)
