"""How each detector is trained, by the detector's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared_models.table import load

if TYPE_CHECKING:
    from server.training.objective import Objective

OBJECTIVES = {
    "second_iou": "server.training.objectives.second_iou:SecondIouObjective",
    "pv_rcnn": "server.training.objectives.pv_rcnn:PvRcnnObjective",
}


def create(name: str, config: Any = None) -> Objective:
    """The objective of detector `name`; with its default configuration unless one is given.

    Raises:
        UnknownNameError: no such detector.
    """
    found = load(OBJECTIVES, "objective", name)
    objective: Objective = found(found.config_class() if config is None else config)
    return objective
