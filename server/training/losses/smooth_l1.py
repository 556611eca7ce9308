"""Smooth L1 loss (Girshick, ICCV 2015, equation 3, with a width)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from shared_models.precision import full_precision


def smooth_l1_loss(predictions: Tensor, targets: Tensor, beta: float = 1 / 9) -> Tensor:
    """Loss of each value, of their shape: d^2 / (2 beta) where |d| < beta, |d| - beta / 2 elsewhere.

    predictions, targets: any one shape.
    """
    return functional.smooth_l1_loss(full_precision(predictions), full_precision(targets), beta=beta, reduction="none")
