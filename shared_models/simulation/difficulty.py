"""KITTI's levels of difficulty."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared_models.records import ObjectLabels

# smallest height of the image box in pixels, largest occlusion level, largest truncation: KITTI's development kit
LEVELS: Final = ((40.0, 0, 0.15), (25.0, 1, 0.30), (25.0, 2, 0.50))


def difficulty_of(labels: ObjectLabels) -> NDArray[np.int64]:
    """(M,) int64: 0 easy, 1 moderate, 2 hard, 3 beyond what KITTI evaluates (small, hidden or cut)."""
    height = labels.image_boxes[:, 3] - labels.image_boxes[:, 1]
    level = np.full(len(labels), len(LEVELS), dtype=np.int64)
    for number, (least_px, most_occluded, most_truncated) in reversed(list(enumerate(LEVELS))):
        fits = (height >= least_px) & (labels.occlusion <= most_occluded) & (labels.truncation <= most_truncated)
        level[fits] = number
    return level
