"""Where the LiDAR stands in each dataset's frame: angles of rings and range images are measured from there.

Datasets that are not listed have their origin in the LiDAR. PandaSet's frame has its origin near the ground; its height
and those of Argoverse 2's two LiDARs (the middle is taken) were found by making the rings as sharp as possible.
Waymo's is the calibration of its roof LiDAR.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SENSOR_POSITIONS_M = {
    "pandaset": (0.0, 0.0, 1.8),
    "argoverse2": (1.4, 0.0, 1.6),
    "waymo_sample": (1.43, 0.0, 2.184),
}


def sensor_position(name: str) -> NDArray[np.float32]:
    """(3,) float32 [x y z] of the LiDAR in the frame of dataset `name`, metres."""
    return np.array(SENSOR_POSITIONS_M.get(name, (0.0, 0.0, 0.0)), dtype=np.float32)
