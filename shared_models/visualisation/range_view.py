"""A scan as the sensor sees it: azimuth across, elevation up, distance as colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from shared_models.visualisation.palette import BACKGROUND

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

NEAR_M, FAR_M = 3.0, 80.0
MARGIN_DEGREES: Final = 0.5
AHEAD_DEGREES: Final = 50.0


def draw_range_view(axes: Axes, points: NDArray[np.float32], is_full_turn: bool) -> PathCollection:
    """Every point as a dot, near ones over far ones; gives what a colour bar can be made of.

    points: (N, >=3) float32 [x y z ...], metres, origin in the sensor.
    """
    from matplotlib.colors import LogNorm

    x, y, z = points[:, :3].astype(np.float64).T
    flat = np.hypot(x, y)
    azimuth, elevation = np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, flat))
    order = np.argsort(-flat)
    dots = axes.scatter(
        azimuth[order],
        elevation[order],
        c=np.clip(flat[order], NEAR_M, FAR_M),
        s=0.5 if is_full_turn else 1.2,
        cmap="turbo_r",
        norm=LogNorm(NEAR_M, FAR_M),
        linewidths=0,
        rasterized=True,
    )
    axes.set_facecolor(BACKGROUND)
    half = 180.0 if is_full_turn else AHEAD_DEGREES
    axes.set_xlim(half, -half)  # left stays left
    if len(points):
        low, high = np.percentile(elevation[flat > NEAR_M] if (flat > NEAR_M).any() else elevation, (0.1, 99.9))
        axes.set_ylim(low - MARGIN_DEGREES, high + MARGIN_DEGREES)
    axes.set_xlabel("azimuth (degrees, left is positive)")
    axes.set_ylabel("elevation (degrees)")
    return dots
