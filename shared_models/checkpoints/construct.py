"""From a detector's name and plain settings to the detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from shared_models import configuration, detectors, table
from shared_models.checkpoints.parameters import fit
from shared_models.detector import Detector
from shared_models.errors import CheckpointError, ConfigError, InvalidValueError, UnknownNameError
from shared_models.sparse.engine import SparseEngine


def construct(
    name: str, settings: Mapping[str, Any], state: Mapping[str, Tensor], engine: SparseEngine | None, source: str
) -> Detector:
    """The detector `name` with the complete configuration `settings`, its weights still without meaning.

    state: parameters that are to fit it; its memory is taken only once they do.
    source: what to call the file with the settings in messages.

    Raises:
        CheckpointError: an unknown detector, settings that it refuses, or that make another network than `state`'s.
    """
    try:
        config_class = table.load(detectors.DETECTORS, "detector", name).config_class
        config = configuration.from_dict(config_class, settings)
        with torch.device("meta"):  # shapes without memory
            outline = detectors.build_from_config(name, config, engine)
    except (UnknownNameError, ConfigError, InvalidValueError) as error:
        raise CheckpointError(f"{source}: {error}") from error
    fit(outline, state, source)
    with torch.random.fork_rng(devices=[]):  # weights are drawn only to be overwritten
        return detectors.build_from_config(name, config, engine)
