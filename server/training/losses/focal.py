"""Focal loss (Lin et al., ICCV 2017, equation 5) on independent logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from shared_models.precision import full_precision


def focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Loss of each logit, of their shape.

    logits, targets: any one shape; targets 0 to 1. alpha: weight of positives, 1 - alpha that of negatives.
    gamma: how strongly what is already right counts less.
    """
    logits = full_precision(logits)
    targets = targets.to(logits.dtype)
    probability = torch.sigmoid(logits)
    error = targets + probability - 2 * targets * probability  # 1 - p for positives, p for negatives
    weight = (1 - alpha) + (2 * alpha - 1) * targets
    entropy = functional.softplus(logits) - logits * targets
    return weight * error.pow(gamma) * entropy
