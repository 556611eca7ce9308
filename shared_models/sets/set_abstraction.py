"""PointNet++ set abstraction: features of the points around each centre, at several radii."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shared_models.geometry.neighbours import ball_query

# Grouped features of this many centres are made at once; 27,648 RoI grid points at 131 channels would take 230 MB.
CENTRES_AT_ONCE = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupingConfig:
    """Neighbourhoods of one set-abstraction layer, one entry per scale.

    radii_m: metres.
    neighbours: points taken per centre, the first by index.
    widths: of the two shared layers of each scale.
    """

    radii_m: tuple[float, ...] = (0.4, 0.8)
    neighbours: tuple[int, ...] = (16, 16)
    widths: tuple[tuple[int, int], ...] = ((16, 16), (16, 16))

    @property
    def out_channels(self) -> int:
        """Channels of the joined scales."""
        return sum(width[-1] for width in self.widths)


class SetAbstraction(nn.Module):
    """Shared layers and a maximum over each neighbourhood; names as in OpenPCDet's StackSAModuleMSG (`mlps`)."""

    def __init__(self, in_channels: int, config: GroupingConfig) -> None:
        super().__init__()
        self.config = config
        self.mlps = nn.ModuleList(_shared_layers(in_channels + 3, widths) for widths in config.widths)

    def forward(self, centres: Tensor, points: Tensor, features: Tensor) -> Tensor:
        """(K, out_channels) from centres (K, 3), points (N, 3) and their features (N, C) of one scan.

        A centre without neighbours sees one neighbour of zeros, as in OpenPCDet.
        """
        if len(centres) == 0:
            return features.new_zeros((0, self.config.out_channels))
        scales = zip(self.config.radii_m, self.config.neighbours, self.mlps, strict=True)
        return torch.cat([self._scale(centres, points, features, *scale) for scale in scales], 1)

    def _scale(
        self, centres: Tensor, points: Tensor, features: Tensor, radius_m: float, count: int, layers: nn.Module
    ) -> Tensor:
        indices, is_empty = ball_query(centres, points, radius_m, count)
        if self.training:  # batch norm must see all centres at once
            return _pool(centres, points, features, indices, is_empty, layers)
        parts = range(0, len(centres), CENTRES_AT_ONCE)
        chunks = [slice(start, start + CENTRES_AT_ONCE) for start in parts]
        return torch.cat([_pool(centres[c], points, features, indices[c], is_empty[c], layers) for c in chunks])


def _pool(
    centres: Tensor, points: Tensor, features: Tensor, indices: Tensor, is_empty: Tensor, layers: nn.Module
) -> Tensor:
    if len(points) == 0:
        grouped = features.new_zeros((len(centres), indices.shape[1], features.shape[1] + 3))
    else:
        relative = points[indices] - centres[:, None]
        grouped = torch.cat((relative, features[indices]), 2)
        grouped = grouped.masked_fill(is_empty[:, None, None], 0.0)
    # (1, C, K, S), as the 1x1 convolutions expect
    pooled: Tensor = layers(grouped.permute(2, 0, 1)[None]).amax(3)
    return pooled[0].t()


def _shared_layers(in_channels: int, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(in_channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        in_channels = width
    return nn.Sequential(*layers)
