"""PointNet++ set abstraction: features of the points around each centre, at several radii."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shared_models.geometry.neighbours import ball_query
from shared_models.records import check

Scans = Sequence[Tensor]

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

    def __post_init__(self) -> None:
        check.entries("GroupingConfig", 16, radii_m=self.radii_m, neighbours=self.neighbours, widths=self.widths)
        check.number("GroupingConfig", "radii_m", self.radii_m, 0.001, 1000)
        check.count("GroupingConfig", "neighbours", self.neighbours, 1024)
        check.count("GroupingConfig", "widths", self.widths, check.MAX_WIDTH)

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

    def forward(self, centres: Scans, points: Scans, features: Scans) -> list[Tensor]:
        """(K, out_channels) for each scan, from centres (K, 3), points (N, 3) and their features (N, C) of each.

        A centre without neighbours sees one neighbour of zeros, as in OpenPCDet. In training, batch norm sees the
        centres of all scans together.
        """
        widths = [widths[-1] for widths in self.config.widths]
        scales = zip(self.config.radii_m, self.config.neighbours, self.mlps, widths, strict=True)
        parts = [self._scale(centres, points, features, *scale) for scale in scales]
        return [torch.cat(scan, 1) for scan in zip(*parts, strict=True)]

    def _scale(
        self, centres: Scans, points: Scans, features: Scans, radius_m: float, count: int, layers: nn.Module, width: int
    ) -> list[Tensor]:
        pieces = []
        for scan in zip(centres, points, features, strict=True):
            indices, is_empty = ball_query(scan[0], scan[1], radius_m, count)
            pieces += [_group(*scan, indices, is_empty, part) for part in self._parts(len(scan[0]))]
        sizes = [len(scan) for scan in centres]
        if self.training:
            pieces = [torch.cat(pieces)]
        pooled = [_pool(piece, layers) for piece in pieces if len(piece)]
        if not pooled:
            return [features[0].new_zeros((0, width)) for _ in sizes]
        return list(torch.split_with_sizes(torch.cat(pooled), sizes))

    def _parts(self, count: int) -> list[slice]:
        """Ranges of centres that are grouped at once: all in training, some otherwise, to bound memory."""
        step = max(count, 1) if self.training else CENTRES_AT_ONCE
        return [slice(start, start + step) for start in range(0, max(count, 1), step)]


def _group(centres: Tensor, points: Tensor, features: Tensor, indices: Tensor, is_empty: Tensor, part: slice) -> Tensor:
    """(k, S, 3 + C): relative positions and features of the neighbours of some centres."""
    centres, indices, is_empty = centres[part], indices[part], is_empty[part]
    if len(points) == 0:
        return features.new_zeros((len(centres), indices.shape[1], features.shape[1] + 3))
    grouped = torch.cat((points[indices] - centres[:, None], features[indices]), 2)
    return grouped.masked_fill(is_empty[:, None, None], 0.0)


def _pool(grouped: Tensor, layers: nn.Module) -> Tensor:
    """(k, width) from (k, S, 3 + C)."""
    # (1, C, k, S), as the 1x1 convolutions expect
    pooled: Tensor = layers(grouped.permute(2, 0, 1)[None]).amax(3)
    return pooled[0].t()


def _shared_layers(in_channels: int, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(in_channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        in_channels = width
    return nn.Sequential(*layers)
