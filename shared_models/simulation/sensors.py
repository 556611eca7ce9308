"""LiDARs with 64 beams, as the three data sets of the paper carry them, and the weather that they look through.

Fields of view and points per scan: UpCycling, supplement, table 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared_models.errors import UnknownNameError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """One spinning LiDAR.

    name: as in `SENSORS`.
    elevation_deg: lowest and highest beam.
    dense_share: share of the beams in the upper, twice as dense block; 0 spaces all alike.
    columns: firings of every beam in one turn.
    height_m: of the optical centre above the ground.
    origin_above_ground_m: of the frame that points and boxes are given in: the sensor itself (KITTI, Lyft) or the
        ground under the vehicle (Waymo).
    label_range_m: horizontal distance up to which objects are annotated.
    turn_s: duration of a turn.
    range_m: shortest and longest range that gives a return.
    noise_m: standard deviation of a range; beyond 2.5 of these none deviates.
    step_m: ranges are multiples of it.
    fade_m: range at which a dark, inclined surface begins to be lost.
    loss: share of pulses that is lost whatever they meet.
    dimming_m: distance over which intensities sink to 1/e beyond 16 m; KITTI's do, other sensors compensate for it.
    """

    name: str
    elevation_deg: tuple[float, float]
    dense_share: float
    columns: int
    height_m: float
    origin_above_ground_m: float
    label_range_m: float = 75.0
    turn_s: float = 0.1
    range_m: tuple[float, float] = (1.5, 100.0)
    noise_m: float = 0.012
    step_m: float = 0.002
    fade_m: float = 60.0
    loss: float = 0.02
    dimming_m: float = 60.0

    @property
    def beams(self) -> int:
        """Beams on top of each other."""
        return 64

    def elevations_rad(self) -> NDArray[np.float64]:
        """(64,) float64, from the highest to the lowest beam."""
        low, high = self.elevation_deg
        dense = round(self.beams * self.dense_share)
        steps = np.concatenate([np.full(dense, 2.0), np.full(self.beams - 1 - dense, 3.0)])
        below = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
        elevations: NDArray[np.float64] = np.deg2rad(high - (high - low) * below)
        return elevations

    def azimuths_rad(self) -> NDArray[np.float64]:
        """(columns,) float64, clockwise from straight behind, as the sensor turns; 0 is ahead, positive left."""
        firings = np.arange(self.columns, dtype=np.float64)
        return math.pi - (firings + 0.5) * (2 * math.pi / self.columns)


SENSORS: Final = {
    sensor.name: sensor
    for sensor in (
        Sensor(
            name="kitti", elevation_deg=(-23.6, 3.2), dense_share=0.5, columns=2083, height_m=1.73,
            origin_above_ground_m=1.73, range_m=(1.5, 120.0),
            dimming_m=26.0,
        ),
        Sensor(
            name="waymo", elevation_deg=(-18.0, 2.0), dense_share=0.5, columns=2850, height_m=2.18,
            origin_above_ground_m=0.0, range_m=(1.5, 75.0),
        ),
        Sensor(
            name="lyft", elevation_deg=(-29.0, 5.0), dense_share=0.5, columns=1250, height_m=1.80,
            origin_above_ground_m=1.80, range_m=(1.5, 100.0),
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What the air and the wet do to a scan.

    extinction_per_m: share of the pulse that the air takes on each metre, on the way there and again on the way back.
    loss: share of the pulses that is lost besides, in drops on the sensor or by mirroring surfaces.
    backscatter: share of the pulses that come back from drops or mist near the sensor.
    backscatter_m: mean range of these returns.
    wetness: 0 dry to 1 wet; wet ground mirrors pulses that graze it away.
    daylight: 0 night to 1 noon, for the camera.
    sun: share of the daylight that comes straight from the sun.
    """

    extinction_per_m: float = 0.0
    loss: float = 0.0
    backscatter: float = 0.0
    backscatter_m: float = 5.0
    wetness: float = 0.0
    daylight: float = 1.0
    sun: float = 0.7


WEATHERS: Final = {
    "clear": Weather(),
    "rain": Weather(
        extinction_per_m=0.012, loss=0.06, backscatter=0.012, backscatter_m=6.0, wetness=1.0, daylight=0.55, sun=0.05
    ),
    "night": Weather(
        extinction_per_m=0.002, loss=0.015, backscatter=0.002, backscatter_m=8.0, wetness=0.2, daylight=0.02, sun=0.0
    ),
}


def sensor_of(name: str) -> Sensor:
    """The sensor `name`.

    Raises:
        UnknownNameError: there is none of this name; the message lists the known ones.
    """
    if name not in SENSORS:
        raise UnknownNameError("sensor", name, SENSORS)
    return SENSORS[name]


def weather_of(name: str) -> Weather:
    """The weather `name`.

    Raises:
        UnknownNameError: there is none of this name; the message lists the known ones.
    """
    if name not in WEATHERS:
        raise UnknownNameError("weather", name, WEATHERS)
    return WEATHERS[name]
