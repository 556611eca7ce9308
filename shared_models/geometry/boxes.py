"""Boxes and points: corners, containment, rotation, angles.

A box is `[x y z l w h yaw]`: centre, full sizes along its own axes, metres; yaw in radians, counter-clockwise about z.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from shared_models.errors import InvalidValueError

# Point-box pairs tested at once: eight buffers of this many floats stay within a few MB.
_PAIRS_AT_ONCE = 1 << 18

# Half-size signs of the corners seen from above: front left, then counter-clockwise.
_SIGNS_BEV = ((1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0))


def check_boxes(name: str, boxes: Tensor) -> None:
    """`boxes` is a floating-point tensor (..., 7).

    Raises:
        InvalidValueError: another shape or dtype; the message starts with `name`.
    """
    if boxes.dim() < 1 or boxes.shape[-1] != 7 or not boxes.is_floating_point():
        raise InvalidValueError(
            f"{name}: expected floating-point boxes (..., 7) [x y z l w h yaw], "
            f"got {boxes.dtype} of shape {tuple(boxes.shape)}"
        )


def limit_period(angle: Tensor, offset: float = 0.5, period: float = 2 * math.pi) -> Tensor:
    """The same angle in [-offset * period, (1 - offset) * period).

    angle: any shape, radians.
    """
    return angle - torch.floor(angle / period + offset) * period


def rotate_points(points: Tensor, angle: Tensor | float) -> Tensor:
    """Points turned counter-clockwise about the z axis of the origin.

    points: (..., N, D), D >= 2, `[x y ...]`; columns after y are kept.
    angle: a number, or (...) as the leading dimensions of `points`, radians.
    """
    turn = torch.as_tensor(angle, dtype=points.dtype, device=points.device).unsqueeze(-1)
    x, y = _rotate(points[..., 0], points[..., 1], torch.cos(turn), torch.sin(turn))
    return torch.cat((torch.stack((x, y), -1), points[..., 2:]), -1)


def corners_bev(boxes: Tensor) -> Tensor:
    """Corners seen from above.

    boxes: (..., 7). Gives (..., 4, 2) `[x y]`: front left, rear left, rear right, front right (counter-clockwise).
    """
    check_boxes("corners_bev", boxes)
    signs = boxes.new_tensor(_SIGNS_BEV)
    local = signs * boxes[..., None, 3:5] / 2
    return rotate_points(local, boxes[..., 6]) + boxes[..., None, 0:2]


def corners_3d(boxes: Tensor) -> Tensor:
    """All eight corners.

    boxes: (..., 7). Gives (..., 8, 3) `[x y z]`: the four of `corners_bev` at the bottom, then the same at the top.
    """
    flat = corners_bev(boxes)
    z, half = boxes[..., 2, None, None], boxes[..., 5, None, None] / 2
    bottom, top = (torch.cat((flat, level.expand(*flat.shape[:-1], 1)), -1) for level in (z - half, z + half))
    return torch.cat((bottom, top), -2)


def enlarge(boxes: Tensor, extra_m: tuple[float, float, float]) -> Tensor:
    """Boxes with `extra_m` (length, width, height) added to their full sizes, half of it on each side.

    boxes: (..., 7), a new tensor is given back.
    """
    check_boxes("enlarge", boxes)
    return boxes + boxes.new_tensor((0.0, 0.0, 0.0, *extra_m, 0.0))


def points_in_boxes_mask(points: Tensor, boxes: Tensor) -> Tensor:
    """Which point lies in which box; faces belong to the box.

    points: (N, >=3) `[x y z ...]`, metres. boxes: (M, 7) in the same frame. Gives (N, M) bool.
    Memory beyond the result is bounded, whatever N.
    """
    check_boxes("points_in_boxes_mask", boxes)
    inside = torch.empty((boxes.shape[0], points.shape[0]), dtype=torch.bool, device=points.device)
    step = max(1, _PAIRS_AT_ONCE // max(1, boxes.shape[0]))
    for start in range(0, points.shape[0], step):
        inside[:, start : start + step] = _contains(boxes, points[start : start + step, :3])
    return inside.t()


def points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """The box that each point lies in: the lowest index where several hold it, -1 where none does.

    points: (N, >=3) `[x y z ...]`, metres. boxes: (M, 7) in the same frame. Gives (N,) int64.
    """
    check_boxes("points_in_boxes", boxes)
    index = torch.full((points.shape[0],), -1, dtype=torch.int64, device=points.device)
    if boxes.shape[0] == 0:
        return index
    step = max(1, _PAIRS_AT_ONCE // boxes.shape[0])
    for start in range(0, points.shape[0], step):
        inside = _contains(boxes, points[start : start + step, :3])
        found, first = inside.to(torch.int8).max(dim=0)  # max gives the first of equal values
        index[start : start + step] = torch.where(found > 0, first, -1)
    return index


def _contains(boxes: Tensor, points: Tensor) -> Tensor:
    # (M, n): boxes in rows, so that the long dimension is the contiguous one.
    x, y, z = (points[:, k] - boxes[:, k, None] for k in range(3))
    along, across = _rotate(x, y, torch.cos(boxes[:, 6, None]), -torch.sin(boxes[:, 6, None]))
    inside = along.abs() <= boxes[:, 3, None] / 2
    inside &= across.abs() <= boxes[:, 4, None] / 2
    inside &= z.abs() <= boxes[:, 5, None] / 2
    return inside


def _rotate(x: Tensor, y: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    return x * cos - y * sin, x * sin + y * cos
