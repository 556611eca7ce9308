"""Loss of the direction bin: which way along its axis a box faces."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from shared_models.precision import full_precision


def direction_loss(logits: Tensor, bins: Tensor) -> Tensor:
    """Cross-entropy (P,) of logits (P, bins) against the right bin (P,) int64."""
    return functional.cross_entropy(full_precision(logits), bins, reduction="none")
