"""Loss of box codes whose angle counts by the sine of its error (SECOND, Yan et al. 2018, section 3.1.4)."""

from __future__ import annotations

import torch
from torch import Tensor

from server.training.losses.smooth_l1 import smooth_l1_loss
from shared_models.precision import full_precision


def sine_pair(codes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The same codes (..., 7), with angles a and b replaced by sin a cos b and cos a sin b: they differ by sin(a - b).

    A box turned by 180 degrees therefore costs nothing; the direction loss tells the two apart.
    """
    a, b = codes[..., 6:], targets[..., 6:]
    first, second = torch.sin(a) * torch.cos(b), torch.cos(a) * torch.sin(b)
    return torch.cat((codes[..., :6], first), -1), torch.cat((targets[..., :6], second), -1)


def box_code_loss(codes: Tensor, targets: Tensor, beta: float = 1 / 9) -> Tensor:
    """Loss (P,) of box codes (P, 7): smooth L1, summed over the seven numbers."""
    return smooth_l1_loss(*sine_pair(full_precision(codes), full_precision(targets)), beta).sum(-1)
