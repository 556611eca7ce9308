"""Lights of the camera's pictures: sun and sky by day, headlights and street lamps by night."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared_models.simulation.raycast import Hits, RayScene
from shared_models.simulation.roads import Road
from shared_models.simulation.sensors import Weather

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

SUNLIGHT: Final = np.array([1.0, 0.95, 0.86], dtype=np.float32)
SKYLIGHT: Final = np.array([0.62, 0.72, 0.88], dtype=np.float32)
GREY_SKY: Final = np.array([0.66, 0.69, 0.72], dtype=np.float32)
LAMPLIGHT: Final = np.array([1.0, 0.78, 0.48], dtype=np.float32)
HEADLIGHT: Final = np.array([1.0, 0.96, 0.88], dtype=np.float32)
LAMP_SPACING_M, LAMP_HEIGHT_M, LAMPS_LIT = 32.0, 6.5, 8
OFF_SURFACE_M: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Lights:
    """Everything that shines.

    sun: (3,) unit vector towards the sun.
    lamps: (L, 3) places of street lamps, world.
    ego: (4, 4) world from vehicle: where the headlights are.
    """

    sun: Floats
    lamps: Floats
    ego: Floats
    weather: Weather


def make_lights(generator: np.random.Generator, road: Road, ego: Floats, ego_s_m: float, weather: Weather) -> Lights:
    """The lights around the ego vehicle, `ego_s_m` along the street."""
    azimuth, elevation = generator.uniform(0, 2 * np.pi), generator.uniform(0.35, 1.1)
    sun = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    first = np.floor(ego_s_m / LAMP_SPACING_M)
    s = (first + np.arange(LAMPS_LIT) // 2) * LAMP_SPACING_M
    d = np.where(np.arange(LAMPS_LIT) % 2, 1, -1) * (road.half_width_m + 0.4)
    x, y, _ = road.at(s, d)
    lamps = np.stack([x, y, road.ground_m(s, d) + LAMP_HEIGHT_M], axis=1)
    return Lights(sun=sun, lamps=lamps, ego=ego, weather=weather)


def lit(lights: Lights, scenes: tuple[RayScene, ...], hits: Hits, positions: Vectors) -> Vectors:
    """(R, 3) float32 light that falls on each hit surface."""
    weather = lights.weather
    normal = hits.normal
    facing = (normal @ lights.sun.astype(np.float32)).clip(0)
    sunny = facing * _unshaded(lights, scenes, positions, normal) if weather.sun else np.zeros_like(facing)
    sky = 0.55 + 0.45 * normal[:, 2:]
    sky_colour = SKYLIGHT if weather.sun > 0.3 else GREY_SKY
    light = weather.daylight * (
        1.35 * weather.sun * sunny[:, None] * SUNLIGHT + (0.95 - 0.4 * weather.sun) * sky * sky_colour
    )
    if weather.daylight < 0.2:
        light = light + _lamps(lights, positions, normal) + _headlights(lights, positions, normal)
    return light.astype(np.float32)


def _unshaded(lights: Lights, scenes: tuple[RayScene, ...], positions: Vectors, normal: Vectors) -> NDArray[np.float32]:
    start = positions + normal * np.float32(OFF_SURFACE_M)
    towards = np.broadcast_to(lights.sun.astype(np.float32), start.shape)
    blocked = np.zeros(len(start), dtype=np.bool_)
    for scene in scenes:
        blocked |= scene.is_blocked(start, towards)
    return (~blocked).astype(np.float32)


def _lamps(lights: Lights, positions: Vectors, normal: Vectors) -> Vectors:
    total = np.zeros((len(positions), 1), dtype=np.float32)
    for lamp in lights.lamps.astype(np.float32):
        way = lamp - positions
        distance = np.sqrt((way * way).sum(axis=1, keepdims=True))
        total += 14.0 * ((way * normal).sum(axis=1, keepdims=True) / distance).clip(0) / (distance**2 + 4)
    return total * LAMPLIGHT


def _headlights(lights: Lights, positions: Vectors, normal: Vectors) -> Vectors:
    rotation = lights.ego[:3, :3].astype(np.float32)
    total = np.zeros((len(positions), 1), dtype=np.float32)
    for side in (0.6, -0.6):
        lamp = (lights.ego @ [1.8, side, 0.65, 1])[:3].astype(np.float32)
        way = positions - lamp
        distance = np.sqrt((way * way).sum(axis=1, keepdims=True)).clip(0.5)
        local = (way / distance) @ rotation
        beam = np.exp(-((local[:, 1:2] / 0.35) ** 2) - ((local[:, 2:] + 0.04) / 0.10) ** 2) * (local[:, :1] > 0)
        facing = (-(way * normal).sum(axis=1, keepdims=True) / distance).clip(0.03)
        total += 60.0 * beam * facing / (distance**2 + 10)
    return total * HEADLIGHT


def sky_colours(lights: Lights, directions: Vectors) -> Vectors:
    """(R, 3) float32 of the sky, brighter towards the horizon and the sun."""
    weather = lights.weather
    height = directions[:, 2:].clip(0, 1) ** 0.5
    clear = np.array([0.95, 0.97, 1.0]) * (1 - height) + np.array([0.38, 0.56, 0.88]) * height
    share = min(weather.sun / 0.7, 1.0)
    glow = (directions @ lights.sun.astype(np.float32)).clip(0)[:, None] ** 64 * share
    colour = weather.daylight * (share * clear + (1 - share) * np.array([0.80, 0.82, 0.84]) + 0.5 * glow)
    return colour.astype(np.float32)
