"""PointNet++ set abstraction: features of the points around each centre, at several radii."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from shared_models.precision import full_precision
from shared_models.records import check
from shared_models.sets.moments import Moments, scale_and_shift
from shared_models.sets.neighbourhoods import Neighbourhoods, find_neighbourhoods
from shared_models.sets.pooling import pool, product

Scans = Sequence[Tensor]


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
    """Shared layers and a maximum over each neighbourhood; names as in OpenPCDet's StackSAModuleMSG (`mlps`).

    Computes what its layers say with less work: the first is linear, so that features pass it before they are gathered;
    each pair of a centre and a point passes once however often the ball query repeats it; and the last norm and ReLU
    keep the order of values, so that they come after the maximum.
    """

    def __init__(self, in_channels: int, config: GroupingConfig) -> None:
        super().__init__()
        self.config = config
        self.mlps = nn.ModuleList(_shared_layers(in_channels + 3, widths) for widths in config.widths)

    def forward(self, centres: Scans, points: Scans, features: Scans) -> list[Tensor]:
        """(K, out_channels) for each scan, from centres (K, 3), points (N, 3) and their features (N, C) of each.

        A centre without neighbours sees one neighbour of zeros, as in OpenPCDet. In training, batch norm sees the
        centres of all scans together, and each neighbourhood filled with its first point to the full number.
        """
        scales = zip(self.config.radii_m, self.config.neighbours, self.mlps, strict=True)
        scans = torch.cat(list(centres)), torch.cat(list(points)), full_precision(torch.cat(list(features)))
        device, parts = scans[0].device.type, []
        # Under autocast only the layer with most of the arithmetic is computed in the short type.
        short = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else scans[2].dtype
        with torch.autocast(device, enabled=False):
            for radius_m, count, layers in scales:
                near = find_neighbourhoods(centres, points, radius_m, count)
                parts.append(_abstract(*scans, near, layers, short))
        return list(torch.split_with_sizes(torch.cat(parts, 1), [len(scan) for scan in centres]))


def _abstract(
    centres: Tensor, points: Tensor, features: Tensor, near: Neighbourhoods, layers: Any, short: torch.dtype
) -> Tensor:
    """(K, width) of one scale."""
    first, first_norm, _, last, last_norm, _ = layers
    is_shared = getattr(first_norm, "is_shared", False)
    # Norms over several processes must be called by all of them, however few centres this one has.
    if len(centres) == 0 and not is_shared:
        return features.new_zeros((0, last.out_channels))
    kernel, weight = first.weight[:, :, 0, 0], last.weight[:, :, 0, 0]
    projected = product(features, kernel[:, 3:])
    offsets = points.index_select(0, near.points) - centres.index_select(0, near.centres)
    moments = _first_moments(projected, offsets, kernel[:, :3], near) if first_norm.training else None
    scale, shift = scale_and_shift(first_norm, moments)
    # Where the norm turns the order round, the layer's sign does too: the highest stays the one to take.
    sign = torch.where(last_norm.weight < 0, -1.0, 1.0).to(weight.dtype)
    weight = weight * sign[:, None]
    pooled, found = pool(projected * scale + shift, offsets, kernel[:, :3] * scale[:, None], weight, near, short)
    alone = product(torch.relu(shift)[None], weight)[0]
    pooled = torch.where(near.is_empty[:, None], alone, pooled)
    moments = _joined(found, alone, sign, near) if last_norm.training else None
    scale, shift = scale_and_shift(last_norm, moments)
    return torch.relu(pooled * (scale * sign) + shift)


def _first_moments(projected: Tensor, offsets: Tensor, direction: Tensor, near: Neighbourhoods) -> Moments:
    """Of `projected + direction @ offset` over all pairs and zeros of a ball query, without making these rows."""
    weights = near.weights()
    counts = torch.bincount(near.points, weights, minlength=len(projected)).double()  # of no pair: int64
    exact = offsets.double()
    weighted = exact * weights[:, None]
    moved = exact.new_zeros((len(projected), 3)).index_add(0, near.points, weighted)
    values, direction = projected.double(), direction.double()
    moves = moved @ direction.t()
    squares = counts @ values.square() + 2 * (values * moves).sum(0)
    return Moments(
        sums=counts @ values + moves.sum(0),
        squares=squares + ((direction @ (weighted.t() @ exact)) * direction).sum(1),
        count=float(near.width * len(near.is_empty)),
    )


def _joined(found: Moments, alone: Tensor, sign: Tensor, near: Neighbourhoods) -> Moments:
    """Moments with the centres without neighbours, which all see `alone`, and without the sign."""
    total = near.width * len(near.is_empty)
    missing, value = total - found.count, alone.double()
    return Moments(
        sums=(found.sums + missing * value) * sign,
        squares=found.squares + missing * value.square(),
        count=float(total),
    )


def _shared_layers(in_channels: int, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(in_channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        in_channels = width
    return nn.Sequential(*layers)
