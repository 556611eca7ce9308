"""Detectors and their settings."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shared_models.table import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared_models.detector import Detector
    from shared_models.sparse.engine import SparseEngine

DETECTORS = {
    "second_iou": "shared_models.detectors.second_iou:SecondIou",
    "pv_rcnn": "shared_models.detectors.pv_rcnn:PvRcnn",
}
SETTINGS = {
    "kitti": "shared_models.detectors.settings:kitti",
    "waymo": "shared_models.detectors.settings:waymo",
    "small": "shared_models.detectors.settings:small",
    "tiny": "shared_models.detectors.settings:tiny",
}


def default_config(name: str, setting: str) -> Any:
    """The configuration of detector `name` in `setting`.

    Raises:
        UnknownNameError: no such detector or setting.
    """
    return load(SETTINGS, "setting", setting)(load(DETECTORS, "detector", name).config_class)


def build(
    name: str, setting: str, seed: int = 0, engine: SparseEngine | None = None, for_openpcdet: bool = False
) -> Detector:
    """A detector with weights drawn from `seed`, in evaluation mode. The same seed gives the same bits everywhere.

    for_openpcdet: configure it for weights that were trained with OpenPCDet, whose forward pass differs in places.

    Raises:
        UnknownNameError: no such detector or setting.
    """
    config = default_config(name, setting)
    if for_openpcdet:
        config = load(DETECTORS, "detector", name).openpcdet_config(config)
    with _seeded(seed):
        return build_from_config(name, config, engine).eval()


def build_from_config(name: str, config: Any, engine: SparseEngine | None = None) -> Detector:
    """A detector of that configuration, in training mode, its weights drawn from torch's current generator."""
    from shared_models.detectors.initialise import he_initialise
    from shared_models.sparse import create_engine

    detector: Detector = load(DETECTORS, "detector", name)(config, engine or create_engine())
    he_initialise(detector)
    return detector


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from `seed` without disturbing the caller's random numbers."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
