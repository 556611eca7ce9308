"""Features of a bird's-eye map at positions between its cells."""

from __future__ import annotations

import torch
from torch import Tensor

from shared_models.errors import InvalidValueError


def interpolate_bev(features: Tensor, xy: Tensor) -> Tensor:
    """Bilinear features at each position, differentiable in `features`.

    features: (C, H, W). xy: (K, 2) `[x y]` in cells, where (0, 0) is the middle of the first cell, x runs along W and y
    along H. Gives (K, C). Outside the map this follows OpenPCDet's `bilinear_interpolate_torch`, which trained weights
    expect: the four corner cells are clamped to the map and the weights are taken from the clamped corners, so they
    no longer sum to one (at x = W - 1 exactly they are 0).

    Raises:
        InvalidValueError: wrong shapes, or a map without cells while positions are given.
    """
    _check(features, xy)
    rows = features.permute(1, 2, 0).reshape(-1, features.shape[0]) if _is_channels_last(features) else None
    result = features.new_zeros((len(xy), features.shape[0]))
    for cell, weight in _corners(xy, features.shape[1], features.shape[2]):
        if rows is None:
            result = result + features.flatten(1).index_select(1, cell).t() * weight[:, None]
        else:
            result = result + rows.index_select(0, cell) * weight[:, None]
    return result


def _corners(xy: Tensor, height: int, width: int) -> list[tuple[Tensor, Tensor]]:
    """The four surrounding cells as (K,) int64 row-major numbers, each with its (K,) weight."""
    x, y = xy.unbind(1)
    (x0, x1), (y0, y1) = _neighbours(x, width), _neighbours(y, height)
    return [
        (y0 * width + x0, (x1 - x) * (y1 - y)),
        (y1 * width + x0, (x1 - x) * (y - y0)),
        (y0 * width + x1, (x - x0) * (y1 - y)),
        (y1 * width + x1, (x - x0) * (y - y0)),
    ]


def _neighbours(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    below = torch.floor(position).long()
    return below.clamp(0, size - 1), (below + 1).clamp(0, size - 1)


def _is_channels_last(features: Tensor) -> bool:
    return features.permute(1, 2, 0).is_contiguous()


def _check(features: Tensor, xy: Tensor) -> None:
    if features.dim() != 3 or xy.dim() != 2 or xy.shape[1] != 2:
        raise InvalidValueError(
            "interpolate_bev: expected features (C, H, W) and xy (K, 2), "
            f"got {tuple(features.shape)} and {tuple(xy.shape)}"
        )
    if len(xy) and features[0].numel() == 0:
        raise InvalidValueError(f"interpolate_bev.features: expected cells, got shape {tuple(features.shape)}")
