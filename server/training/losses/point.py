"""Loss of PV-RCNN's point head: which keypoints lie on objects (Shi et al., CVPR 2020, section 3.2)."""

from __future__ import annotations

from torch import Tensor

from server.training.losses.focal import focal_loss


def point_loss(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss (K,) of logits (K,) against labels (K,): 1 on an object, 0 off it, negative counts nothing."""
    is_counted = labels >= 0
    return focal_loss(logits, labels.clamp(min=0), alpha, gamma).where(is_counted, logits.new_zeros(()))
