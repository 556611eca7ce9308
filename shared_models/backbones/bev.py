"""The 2D backbone on the bird's-eye-view map (SECOND's region proposal network, OpenPCDet's BaseBEVBackbone)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import mul

import torch
from torch import Tensor, nn

from shared_models.errors import InvalidValueError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class BevConfig:
    """Depth and widths of the BEV backbone; one entry per resolution.

    layer_counts: convolutions after the first of each block.
    strides: of each block against the one before.
    channels: width of each block.
    upsample_strides: that bring each block back to the resolution of the map.
    upsample_channels: width of each block's share of the output.
    """

    layer_counts: tuple[int, ...] = (5, 5)
    strides: tuple[int, ...] = (1, 2)
    channels: tuple[int, ...] = (128, 256)
    upsample_strides: tuple[int, ...] = (1, 2)
    upsample_channels: tuple[int, ...] = (256, 256)

    def __post_init__(self) -> None:
        names = ("layer_counts", "strides", "channels", "upsample_strides", "upsample_channels")
        check.entries("BevConfig", 8, **{name: getattr(self, name) for name in names})
        check.count("BevConfig", "layer_counts", self.layer_counts, 64, low=0)
        check.count("BevConfig", "strides", self.strides, 16)
        check.count("BevConfig", "channels", self.channels, check.MAX_WIDTH)
        check.count("BevConfig", "upsample_channels", self.upsample_channels, check.MAX_WIDTH)
        expected = tuple(accumulate(self.strides, mul))
        if self.upsample_strides != expected:
            raise InvalidValueError(
                f"BevConfig.upsample_strides: expected {expected}, the strides multiplied up, "
                f"got {self.upsample_strides}"
            )

    @property
    def out_channels(self) -> int:
        """Channels of the output map."""
        return sum(self.upsample_channels)


class BevBackbone(nn.Module):
    """Convolutions at several resolutions, brought back to one and joined; names as in OpenPCDet's `backbone_2d`."""

    def __init__(self, in_channels: int, config: BevConfig) -> None:
        super().__init__()
        widths = (in_channels, *config.channels)
        blocks = zip(pairwise(widths), config.strides, config.layer_counts, strict=True)
        self.blocks = nn.ModuleList(_block(a, b, stride, count) for (a, b), stride, count in blocks)
        ups = zip(config.channels, config.upsample_channels, config.upsample_strides, strict=True)
        self.deblocks = nn.ModuleList(_deblock(a, b, stride) for a, b, stride in ups)

    def forward(self, bev: Tensor) -> Tensor:
        """(B, out_channels, Y, X) from (B, C, Y, X)."""
        parts = []
        for block, deblock in zip(self.blocks, self.deblocks, strict=True):
            bev = block(bev)
            parts.append(deblock(bev))
        return torch.cat(parts, 1)


def _block(in_channels: int, channels: int, stride: int, layer_count: int) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.ZeroPad2d(1),
        nn.Conv2d(in_channels, channels, 3, stride=stride, bias=False),
        *_norm(channels),
    ]
    for _ in range(layer_count):
        layers += [nn.Conv2d(channels, channels, 3, padding=1, bias=False), *_norm(channels)]
    return nn.Sequential(*layers)


def _deblock(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    up = nn.ConvTranspose2d(in_channels, channels, stride, stride=stride, bias=False)
    return nn.Sequential(up, *_norm(channels))


def _norm(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01), nn.ReLU()]
