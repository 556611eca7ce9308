"""Loss of a predicted overlap: how well a proposal fits, from 0 to 1."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from shared_models.precision import full_precision


def iou_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Binary cross-entropy (S,) of logits (S,) against wanted scores (S,) of 0 to 1 (IoU-Net's idea, soft labels)."""
    logits = full_precision(logits)
    return functional.binary_cross_entropy_with_logits(logits, wanted.to(logits.dtype), reduction="none")
