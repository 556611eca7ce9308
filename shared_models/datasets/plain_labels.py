"""Labels of datasets that annotate boxes in space only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared_models.records import ObjectLabels

UNKNOWN_OCCLUSION = 3


def plain_labels(boxes: NDArray[np.float32], class_names: Sequence[str]) -> ObjectLabels:
    """Labels without image boxes (NaN), with unknown occlusion and no truncation.

    boxes: (M, 7) float32, LiDAR frame. class_names: M names.
    """
    count = len(class_names)
    return ObjectLabels(
        boxes=np.ascontiguousarray(boxes, dtype=np.float32).reshape(count, 7),
        class_names=tuple(class_names),
        image_boxes=np.full((count, 4), np.nan, dtype=np.float32),
        occlusion=np.full(count, UNKNOWN_OCCLUSION, dtype=np.int64),
        truncation=np.zeros(count, dtype=np.float32),
        image_only_boxes=np.empty((0, 4), dtype=np.float32),
    )
