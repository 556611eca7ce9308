"""The detector that a vehicle drives with: from a checkpoint, or with seeded, untrained weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_models import checkpoints, detectors
from shared_models.errors import CheckpointError

DEFAULT_DETECTOR, DEFAULT_SETTING = "second_iou", "small"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedDetector:
    """A detector and where its weights come from.

    name: of the detector, as in `shared_models.detectors`.
    weights: one phrase for people and reports.
    """

    detector: Any
    name: str
    weights: str

    def described(self) -> str:
        """One line for people."""
        return f"{self.name} with {self.weights}"

    def about(self) -> dict[str, Any]:
        """The same for a report."""
        return {"detector": self.name, "weights": self.weights, "backbone_hash": self.detector.backbone_hash}


def load_detector(
    name: str | None = None, setting: str | None = None, checkpoint: Path | None = None, seed: int = 0
) -> LoadedDetector:
    """A detector on the CPU.

    name: of the detector; without a checkpoint `second_iou` unless told. A checkpoint knows its own, which must agree.
    setting: its size; without a checkpoint `small` unless told. Only OpenPCDet's checkpoints need it.
    seed: of the weights where there is no checkpoint.

    Raises:
        UnknownNameError: no such detector or setting.
        CheckpointError: the checkpoint is damaged, hostile or of another detector.
    """
    if checkpoint is None:
        name, setting = name or DEFAULT_DETECTOR, setting or DEFAULT_SETTING
        detector = detectors.build(name, setting, seed=seed)
        weights = f"seeded, untrained weights (setting {setting}, seed {seed})"
        return LoadedDetector(detector=detector, name=name, weights=weights)
    detector = checkpoints.open_checkpoint(checkpoint, setting=setting)
    if name is not None and name != detector.name:
        raise CheckpointError(f"{checkpoint}: expected a checkpoint of {name}, got one of {detector.name}")
    return LoadedDetector(detector=detector, name=detector.name, weights=f"the weights of {checkpoint}")
