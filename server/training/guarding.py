"""Guards on the server's own scans: labelled and held-out frames as vehicles with that guard would have sent them."""

from __future__ import annotations

import hashlib

import torch

from shared_models import guards
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.detectors.guard_context import guard_context
from shared_models.records import SceneFeatures


class GuardedScenes:
    """One guard, with random numbers that follow from names: the same scene is always guarded in the same way."""

    def __init__(self, guard: str) -> None:
        """guard: as `shared_models.guards.build` takes it.

        Raises:
            UnknownNameError, ConfigError: there is no such guard, or a setting is wrong.
        """
        self._guard = guards.build(guard)

    @property
    def is_changing(self) -> bool:
        """Whether features differ at all afterwards."""
        return self._guard.name != "none"

    def apply(self, features: SceneFeatures, detector: AnchorDetector, *names: str | int) -> SceneFeatures:
        """What a vehicle with this guard sends in place of `features`.

        detector: in evaluation mode; what it finds in the unchanged features is what the vehicle is taken to find.
        names: of the scene, and of the step where each step is to have random numbers of its own.
        """
        with torch.no_grad():
            found = detector.detect(features) if self._guard.needs_detections else None
            return self._guard.apply(features, scene_generator(*names), guard_context(detector, found))


def scene_generator(*names: str | int) -> torch.Generator:
    """A generator (on the CPU) whose numbers follow from `names` alone."""
    digest = hashlib.sha256("\n".join(str(name) for name in names).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
