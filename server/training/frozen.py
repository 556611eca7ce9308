"""The part of a detector that stays as the vehicles have it, while the rest learns.

Stored features were made with it, and no gradient reaches it from them: if it changed, they would no longer fit.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from shared_models.detector import Detector


def freeze_vehicle_part(detector: Detector) -> None:
    """No parameter before the cut wants gradients any more."""
    for name, parameter in detector.named_parameters():
        if name.startswith(detector.vehicle_parts):
            parameter.requires_grad_(False)


def has_frozen_vehicle_part(detector: Detector) -> bool:
    """Whether no parameter before the cut wants gradients."""
    inside = (value for name, value in detector.named_parameters() if name.startswith(detector.vehicle_parts))
    return not any(value.requires_grad for value in inside)


def train_server_part(detector: Detector) -> None:
    """Training mode behind the cut only: batch norms before it keep their statistics to the last bit.

    Scans are voxelised as on a vehicle as well, which takes more voxels than training does.
    """
    detector.train()
    for module in vehicle_modules(detector):
        module.eval()
    detector.training = False  # the detector's own flag is for what comes before its modules; theirs stay


def vehicle_modules(detector: Detector) -> Iterator[nn.Module]:
    """The largest modules that lie before the cut as a whole."""
    taken: tuple[str, ...] = ()
    for name, module in detector.named_modules():
        is_inside = f"{name}.".startswith(detector.vehicle_parts) or name.startswith(detector.vehicle_parts)
        if name and is_inside and not f"{name}.".startswith(taken or ("\0",)):
            taken += (f"{name}.",)
            yield module
