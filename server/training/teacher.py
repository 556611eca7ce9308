"""The teacher: a slowly following copy of the detector that looks at unchanged features."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from server.training.frozen import has_frozen_vehicle_part
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherConfig:
    """How the teacher follows.

    kind: "ema" is the mean of past students (Tarvainen & Valpola, NIPS 2017); "fixed" stays the first one.
    decay: of the mean, at most; after t steps it is min(1 - 1 / (t + 1), decay), as in 3DIoUMatch's code.
    statistics: what batch norm statistics do: "follow" by the same mean, or are those of the "student".
    """

    kind: Literal["ema", "fixed"] = "ema"
    decay: float = 0.999
    statistics: Literal["follow", "student"] = "follow"

    def __post_init__(self) -> None:
        check.number("TeacherConfig", "decay", self.decay, 0, 1)


class Teacher:
    """Holds the teacher's detector, always in evaluation mode and without gradients."""

    def __init__(self, student: AnchorDetector, config: TeacherConfig) -> None:
        self.config = config
        self.detector = copy.deepcopy(student).requires_grad_(False).eval()

    @torch.no_grad()
    def follow(self, student: AnchorDetector, step: int) -> None:
        """Move towards the student after its step number `step`, counted from 1."""
        if self.config.kind == "fixed":
            return
        decay = min(1 - 1 / (step + 1), self.config.decay)
        mine = dict(self.detector.named_parameters())
        for name, parameter in student.named_parameters():
            if parameter.requires_grad:
                mine[name].lerp_(parameter, 1 - decay)
        buffers, is_frozen = dict(self.detector.named_buffers()), has_frozen_vehicle_part(student)
        for name, value in student.named_buffers():
            if not (is_frozen and name.startswith(student.vehicle_parts)):
                self._follow_buffer(buffers[name], value, decay)

    def _follow_buffer(self, mine: Tensor, theirs: Tensor, decay: float) -> None:
        if self.config.statistics == "follow" and theirs.is_floating_point():
            mine.lerp_(theirs, 1 - decay)
        else:
            mine.copy_(theirs)

    def gap(self, student: AnchorDetector) -> float:
        """Root mean square difference of the trained parameters."""
        mine = dict(self.detector.named_parameters())
        pairs = [(mine[name], value.detach()) for name, value in student.named_parameters() if value.requires_grad]
        if not pairs:
            return 0.0
        squares = torch.stack([(a - b).square().sum(dtype=torch.float64) for a, b in pairs])
        return math.sqrt(float(squares.sum()) / sum(a.numel() for a, _ in pairs))

    def state(self) -> dict[str, Any]:
        """For a saved state."""
        return dict(self.detector.state_dict())

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.detector.load_state_dict(dict(state))
