"""Whether a scan looks all around, or only ahead."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAST_DEGREES: Final = 250  # of 360: objects nearby, the vehicle's own body and the sky leave gaps


def is_full_turn(points: NDArray[np.float32]) -> bool:
    """Whether at least 250 of the 360 degrees around hold points. points: (N, F) [x y ...], origin in the sensor."""
    degrees = np.floor(np.degrees(np.arctan2(points[:, 1], points[:, 0])))
    return len(np.unique(degrees)) >= LEAST_DEGREES
