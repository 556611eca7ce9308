"""From a detector's name and plain settings to the detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from shared_models import configuration, detectors, table
from shared_models.detector import Detector
from shared_models.errors import CheckpointError, ConfigError, UnknownNameError
from shared_models.sparse.engine import SparseEngine


def construct(name: str, settings: Mapping[str, Any], engine: SparseEngine | None, source: str) -> Detector:
    """The detector `name` with the complete configuration `settings`, its weights still without meaning.

    Raises:
        CheckpointError: an unknown detector, or settings that it does not understand.
    """
    try:
        config_class = table.load(detectors.DETECTORS, "detector", name).config_class
        config = configuration.from_dict(config_class, settings)
    except (UnknownNameError, ConfigError) as error:
        raise CheckpointError(f"{source}: {error}") from error
    with torch.random.fork_rng(devices=[]):  # weights are drawn only to be overwritten
        return detectors.build_from_config(name, config, engine)
