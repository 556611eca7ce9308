"""Attacks by name; each is imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.audit.attack import Attack
from shared_models.configuration import from_dict
from shared_models.table import load

RECONSTRUCTIONS = {
    "active_cells": "server.audit.attacks.active_cells:ActiveCells",
    "keypoint_list": "server.audit.attacks.keypoint_list:KeypointList",
    "mean_scene": "server.audit.attacks.mean_scene:MeanScene",
    "decoder": "server.audit.attacks.decoder:Decoder",
    "occupancy": "server.audit.attacks.occupancy:Occupancy",
    "optimisation": "server.audit.attacks.optimisation:Optimisation",
}
OBJECTS = {"detector": "server.audit.attacks.detector:StockDetector"}
RETRIEVALS = {"polar_map": "server.audit.attacks.polar_map:PolarMap"}
MEMBERSHIPS = {"confidence": "server.audit.attacks.confidence:Confidence"}
PROPERTIES = {"linear_probe": "server.audit.attacks.linear_probe:LinearProbe"}


def attacks() -> dict[str, str]:
    """All families in one table."""
    return {**RECONSTRUCTIONS, **OBJECTS, **RETRIEVALS, **MEMBERSHIPS, **PROPERTIES}


def attack_class(name: str) -> type[Attack]:
    """The class of the attack called `name`.

    Raises:
        UnknownNameError: there is no such attack; the message lists the known ones.
    """
    found: type[Attack] = load(attacks(), "attack", name)
    return found


def build(name: str, settings: Mapping[str, Any] | None = None) -> Attack:
    """The attack called `name` with these settings of its configuration, not yet prepared.

    Raises:
        UnknownNameError: there is no such attack; the message lists the known ones.
        ConfigError: a setting is unknown or wrong.
    """
    found = attack_class(name)
    return found(from_dict(found.config_class, settings or {}))
