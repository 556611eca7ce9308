"""PV-RCNN's keypoints are points of the scan: reading them out of the payload is the whole attack."""

from __future__ import annotations

from typing import final

import numpy as np

from server.audit.attack import Reconstruction, ReconstructionAttack, Workbench
from server.audit.threat import AttackerView
from shared_models import codecs
from shared_models.guard import NoSettings


@final
class KeypointList(ReconstructionAttack):
    """The positions of the keypoints as they stand in the payload; nothing where there are none."""

    name = "keypoint_list"
    config_class = NoSettings

    def prepare(self, view: AttackerView, bench: Workbench) -> None:
        """Nothing to learn."""

    def reconstruct(self, payload: bytes) -> Reconstruction:
        keypoints = codecs.decode(payload).keypoints
        points = np.zeros((0, 3), np.float32) if keypoints is None else keypoints.positions.numpy()
        return Reconstruction(points=points)
