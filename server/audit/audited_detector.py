"""The detector that an audit file names."""

from __future__ import annotations

from pathlib import Path

from server.audit.audit_config import DetectorChoice
from shared_models import checkpoints, detectors
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import ConfigError


def open_detector(choice: DetectorChoice) -> tuple[AnchorDetector, str]:
    """The detector and, in words, where its weights come from.

    Raises:
        UnknownNameError, CheckpointError: there is no such detector or checkpoint.
        ConfigError: it has no sparse 3D backbone.
    """
    if choice.checkpoint:
        detector = checkpoints.open_checkpoint(Path(choice.checkpoint))
        weights = f"checkpoint {Path(choice.checkpoint).name}"
    else:
        detector = detectors.build(choice.name, choice.setting, seed=choice.seed)
        weights = f"seeded, untrained weights (setting {choice.setting}, seed {choice.seed})"
    if not isinstance(detector, AnchorDetector):
        raise ConfigError(f"detector {choice.name}: the auditor knows the cells of SECOND's backbone only")
    return detector, weights
