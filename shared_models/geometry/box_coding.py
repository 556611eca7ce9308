"""Boxes as differences from anchors: what the box branch of a detection head predicts.

Source: OpenPCDet `ResidualCoder`, after SECOND (Yan et al. 2018), section 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from shared_models.geometry.boxes import check_boxes

_MIN_SIZE_M = 1e-5  # smaller sizes are raised to this before a division or logarithm


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Codes of boxes relative to their anchors.

    boxes, anchors: (..., 7) that broadcast. Gives (..., 7) `[dx dy dz log_l log_w log_h d_yaw]`: offsets over the
    anchor's bird's-eye diagonal (x, y) or height (z), logarithms of size ratios, difference of the angles in radians.
    """
    check_boxes("encode.boxes", boxes)
    check_boxes("encode.anchors", anchors)
    scale, sizes = _scale(anchors)
    offset = (boxes[..., :3] - anchors[..., :3]) / scale
    ratio = torch.log(boxes[..., 3:6].clamp(min=_MIN_SIZE_M) / sizes)
    turn = boxes[..., 6:] - anchors[..., 6:]
    return torch.cat((offset, ratio, turn), -1)


def decode(codes: Tensor, anchors: Tensor) -> Tensor:
    """The boxes that `codes` stand for: the inverse of `encode`.

    codes, anchors: (..., 7) that broadcast. Gives (..., 7) boxes; the angle is not limited to a period.
    """
    check_boxes("decode.codes", codes)
    check_boxes("decode.anchors", anchors)
    scale, sizes = _scale(anchors)
    centre = codes[..., :3] * scale + anchors[..., :3]
    size = torch.exp(codes[..., 3:6]) * sizes
    turn = codes[..., 6:] + anchors[..., 6:]
    return torch.cat((centre, size, turn), -1)


def _scale(anchors: Tensor) -> tuple[Tensor, Tensor]:
    sizes = anchors[..., 3:6].clamp(min=_MIN_SIZE_M)
    diagonal = torch.sqrt(sizes[..., 0] ** 2 + sizes[..., 1] ** 2)
    return torch.stack((diagonal, diagonal, sizes[..., 2]), -1), sizes
