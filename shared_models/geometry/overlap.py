"""Area shared by two turned boxes seen from above, and which pairs of boxes can share any.

Green's theorem in place of polygon clipping. Take box A's frame, where A is |x| <= p, |y| <= q, and walk
counter-clockwise along the edges of box B. The shared area is the sum over B's four edges of -∫ clamp(y, -q, q) dx,
where x stays within [-p, p]. Each integral has a closed form that is continuous in the corners, so equal, touching,
parallel and flat boxes need no special case, nothing is sorted, and a rounding error of the corners stays a rounding
error of the area.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from shared_models.geometry.boxes import corners_bev

# Pairs whose interval test, and pairs whose exact area, is computed at once (bounds memory; the latter fits the cache).
_TESTS_AT_ONCE = 1 << 19
_AREAS_AT_ONCE = 1 << 14

# A shared area below this part of the smaller box is the rounding noise of boxes that only touch.
_NOISE = 1e-12


def overlap_bev_aligned(a: Tensor, b: Tensor) -> Tensor:
    """Shared bird's-eye area of a[k] and b[k].

    a, b: (K, 7) boxes. Gives (K,) float64, square metres; 0 where a box is flat or not finite.
    """
    pieces = zip(*(torch.split(boxes.detach(), _AREAS_AT_ONCE) for boxes in (a, b)), strict=True)
    return torch.cat([_overlap(p.double(), q.double()) for p, q in pieces])


def area_bev(boxes: Tensor) -> Tensor:
    """Bird's-eye area. boxes: (M, 7). Gives (M,) float64, square metres."""
    sizes = boxes.detach()[:, 3:5].double()
    return sizes[:, 0] * sizes[:, 1]


def bounds_bev(boxes: Tensor) -> Tensor:
    """Upright rectangles around turned boxes. boxes: (M, 7). Gives (4, M) float64 `[x_min y_min x_max y_max]`."""
    exact = boxes.detach().double()
    turn, sizes = exact[:, 6], exact[:, 3:5].t()
    cos, sin = torch.cos(turn).abs(), torch.sin(turn).abs()
    half = torch.stack((sizes[0] * cos + sizes[1] * sin, sizes[0] * sin + sizes[1] * cos)) / 2
    centre = exact[:, :2].t()
    return torch.cat((centre - half, centre + half))


def possible_pairs(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Index pairs (i, j), sorted by i then j, of boxes whose upright rectangles meet; all others share no area.

    a: (M, 7), b: (N, 7) boxes. Gives pieces of (P,) int64 each; memory is bounded for any M at a given N.
    """
    low_high_a, low_high_b = bounds_bev(a), bounds_bev(b)
    step = max(1, _TESTS_AT_ONCE // max(1, b.shape[0]))
    for start in range(0, a.shape[0], step):
        x0, y0, x1, y1 = low_high_a[:, start : start + step, None].unbind(0)
        meets = x0 < low_high_b[2]
        meets &= low_high_b[0] < x1
        meets &= y0 < low_high_b[3]
        meets &= low_high_b[1] < y1
        i, j = meets.nonzero(as_tuple=True)
        yield i + start, j


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    p, q = a[:, 3] / 2, a[:, 4] / 2
    x, y = _corners_in_frame(a, b)
    area = torch.zeros_like(p)
    for k in range(4):
        area -= _edge_integral(x[k], y[k], x[(k + 1) % 4], y[(k + 1) % 4], p, q)
    area_a, area_b = area_bev(a), area_bev(b)
    smaller = torch.minimum(area_a, area_b)
    # A comparison with NaN is false, so this leaves out every box that is not finite.
    real = (area > _NOISE * smaller) & torch.isfinite(area_a + area_b)
    return torch.where(real, torch.minimum(area, smaller), 0.0)


def _corners_in_frame(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    # Subtracting the centres first keeps the corners exact at large coordinates.
    relative = b.clone()
    offset = b[:, :2] - a[:, :2]
    cos, sin = torch.cos(a[:, 6]), torch.sin(a[:, 6])
    relative[:, 0] = offset[:, 0] * cos + offset[:, 1] * sin
    relative[:, 1] = offset[:, 1] * cos - offset[:, 0] * sin
    relative[:, 6] -= a[:, 6]
    corners = corners_bev(relative).permute(2, 1, 0).contiguous()  # (2, 4, K)
    return corners[0], corners[1]


def _edge_integral(x0: Tensor, y0: Tensor, x1: Tensor, y1: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """∫ clamp(y, -q, q) dx along the edge from (x0, y0) to (x1, y1), over the part with |x| <= p."""
    left, right = torch.clamp(x0, -p, p), torch.clamp(x1, -p, p)
    run, rise = x1 - x0, y1 - y0
    slope = torch.where(run == 0, 0.0, rise / run)  # an upright edge covers no x: its integral is 0
    # Each end is reached from the nearer corner's side, so the heights stay within the edge.
    low, high = torch.minimum(y0, y1), torch.maximum(y0, y1)
    start = torch.clamp(y0 + (left - x0) * slope, low, high)
    end = torch.clamp(y0 + (right - x0) * slope, low, high)
    return (right - left) * _mean_clamped(torch.minimum(start, end), torch.maximum(start, end), q)


def _mean_clamped(low: Tensor, high: Tensor, q: Tensor) -> Tensor:
    """Mean of clamp(y, -q, q) over y from `low` to `high`: three straight pieces, weighted by their lengths."""
    inner_low, inner_high = torch.clamp(low, -q, q), torch.clamp(high, -q, q)
    below = (torch.minimum(high, -q) - low).clamp_(min=0)
    above = (high - torch.maximum(low, q)).clamp_(min=0)
    total = q * (above - below) + (inner_high - inner_low) * (inner_high + inner_low) / 2
    length = high - low
    return torch.where(length == 0, inner_low, total / length)
