"""Loss of a box by its corners (Frustum PointNets, Qi et al., CVPR 2018, section 4.4, as OpenPCDet computes it)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from server.training.losses.smooth_l1 import smooth_l1_loss
from shared_models.geometry.boxes import corners_3d
from shared_models.precision import full_precision


def corner_loss(boxes: Tensor, truths: Tensor, beta_m: float = 1.0) -> Tensor:
    """Loss (P,) of boxes (P, 7) against true boxes (P, 7): mean Huber loss of the eight corners' distances.

    Each corner's distance is the shorter one to the true box and to that box facing the other way. (The paper takes the
    better of the two boxes; upstream, and so this, the better for each corner.)
    """
    boxes, truths = full_precision(boxes), full_precision(truths)
    flipped = torch.cat((truths[:, :6], truths[:, 6:] + math.pi), 1)
    corners = corners_3d(boxes)
    distances = [torch.linalg.vector_norm(corners - corners_3d(other), dim=2) for other in (truths, flipped)]
    nearer = torch.minimum(*distances)
    return smooth_l1_loss(nearer, torch.zeros_like(nearer), beta_m).mean(1)
