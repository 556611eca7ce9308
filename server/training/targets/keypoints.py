"""Which keypoints lie on objects: targets of PV-RCNN's point head (OpenPCDet's PointHeadSimple)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from server.training.samples import Truth
from shared_models.geometry.boxes import enlarge, points_in_boxes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeypointTargets:
    """Targets of K keypoints, on the keypoints' device.

    labels: (K,) int64: 1 in an object, 0 outside, -1 ignored.
    rows: (K,) int64, the truth row of the object that holds each, -1 where there is none.
    """

    labels: Tensor
    rows: Tensor


def keypoint_targets(positions: Tensor, truth: Truth, ring_m: float = 0.2) -> KeypointTargets:
    """Targets from positions (K, 3) [x y z], metres, LiDAR frame.

    ring_m: this is added to each full size of a box (half of it on each side, as upstream does); keypoints in the space
        between are ignored, and so are those in boxes that the truth ignores.
    """
    counted = torch.from_numpy(np.flatnonzero(~truth.is_ignored)).to(positions.device)
    boxes = torch.from_numpy(truth.boxes).to(positions.device)
    ring = enlarge(boxes, (ring_m, ring_m, ring_m))
    inside = points_in_boxes(positions, boxes[counted])
    near = points_in_boxes(positions, ring) >= 0
    labels = torch.where(inside >= 0, 1, torch.where(near, -1, 0))
    # Index -1 is the last entry: no object.
    numbers = torch.cat((counted, counted.new_full((1,), -1)))
    return KeypointTargets(labels=labels, rows=numbers[inside])
