"""Guards by name; several are joined by "+" and applied in that order."""

from __future__ import annotations

import json
import re
from typing import Any

from shared_models import table
from shared_models.configuration import from_dict
from shared_models.errors import ConfigError
from shared_models.guard import Guard

# What the project recommends, from measurements in docs/privacy.md: "default" means this everywhere (policies, audits,
# vehicles), and vehicles apply it where a server names no guard.
DEFAULT_GUARD = "none"

GUARDS = {
    "none": "shared_models.guards.none:NoGuard",
    "channels": "shared_models.guards.channels:ChannelPruning",
    "coarse": "shared_models.guards.coarse:CoarseCells",
    "crop_boxes": "shared_models.guards.crop_boxes:CropToBoxes",
    "crop_corridor": "shared_models.guards.crop_corridor:CropToCorridor",
    "decoys": "shared_models.guards.decoys:DecoyCells",
    "drop_people": "shared_models.guards.drop_people:DropPeople",
    "keypoint_jitter": "shared_models.guards.keypoint_jitter:KeypointJitter",
    "keypoint_snap": "shared_models.guards.keypoint_snap:KeypointSnap",
    "noise": "shared_models.guards.noise:GaussianNoise",
}
DEFAULT = "default"
_BETWEEN = re.compile(r"\+(?=[a-z])")  # not the one in 1e+16


def build(given: str) -> Guard:
    """The guard that `given` names: `noise`, with settings `noise,epsilon=4.0`, several `keypoint_snap+noise`.

    `default` is `DEFAULT_GUARD`.

    Raises:
        UnknownNameError: there is no such guard; the message lists the known ones.
        ConfigError: a setting is unknown or wrong.
    """
    parts = [_build_one(word) for word in _BETWEEN.split(DEFAULT_GUARD if given == DEFAULT else given)]
    if len(parts) == 1:
        return parts[0]
    from shared_models.guards.chain import Chain

    return Chain(parts)


def _build_one(given: str) -> Guard:
    name, *words = given.split(",")
    guard_class: type[Guard] = table.load(GUARDS, "guard", name)
    wrong = next((word for word in words if "=" not in word), None)
    if wrong is not None:
        raise ConfigError(f"guard {given}: expected NAME,KEY=VALUE,..., got {wrong!r}")
    settings = {key: _value(text) for key, _, text in (word.partition("=") for word in words)}
    try:
        return guard_class(from_dict(guard_class.config_class, settings))
    except ConfigError as error:
        raise ConfigError(f"guard {name}: {error}") from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
