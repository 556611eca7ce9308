"""One turn of a spinning LiDAR: rays, glass, weather, lost pulses, noise and intensity.

The sensor moves while it turns. Points are given in the frame of the moment in which it looks ahead, with its own
motion taken out, as data sets deliver them; other moving objects stand where they were when the beam met them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared_models.simulation.materials import Material, SemanticClass, table
from shared_models.simulation.raycast import Hits, RayScene, cast_at
from shared_models.simulation.sensors import Sensor, Weather

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

GLASS_RETURNS, GLASS_ABSORBS = 0.08, 0.40  # shares of the pulses on a car's window; the rest passes
MAX_PANES: Final = 3
WINDOW_LOSES: Final = 0.55  # share of the pulses on a building's window that is mirrored away
EASILY_SEEN: Final = 0.05  # share of the pulse at which two of three returns are noticed
NOISE_LIMIT: Final = 2.5  # standard deviations
GROUND: Final = (Material.ASPHALT, Material.MARKING, Material.PAVING)
INTENSITY_NOISE: Final = 0.25  # standard deviation from pulse to pulse, as a share
INTENSITY_FLOOR: Final = 0.04  # noise of the weakest returns; most of KITTI's beyond 50 m read 0
UNMEASURED: Final = 0.05  # share of returns with intensity 0
DIMMING_FROM_M: Final = 16.0
MIRRORING: Final = 0.20  # share of the pulses that paint loses when they graze it
CELL_M: Final = 5.0  # surfaces that belong to no object vary from cell to cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Rays:
    """The pulses of one turn, in the frame of the moment in which the sensor looks ahead.

    origins, directions: (R, 3) float32.
    column, beam: (R,) int32, number of the firing in the turn and of the laser from the top.
    """

    origins: Vectors
    directions: Vectors
    column: NDArray[np.int32]
    beam: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What came back.

    points: (N, 4) float32 [x y z intensity]. semantic: (N,) uint8. instance: (N,) int32.
    ray: (N,) int64, which ray each point is from.
    reach_m: (R,) float32, distance to the first surface that each ray met, whether it returned or not.
    """

    points: Vectors
    semantic: NDArray[np.uint8]
    instance: NDArray[np.int32]
    ray: NDArray[np.int64]
    reach_m: NDArray[np.float32]


def make_rays(
    sensor: Sensor, velocity_mps: Floats, yaw_rate_rps: float, chosen: NDArray[np.bool_] | None = None
) -> Rays:
    """The pulses of a turn, beam by beam from the top.

    velocity_mps: (3,) velocity of the sensor in its own frame.
    chosen: (beams, columns) which pulses are wanted; None for all.
    """
    if chosen is None:
        chosen = np.ones((sensor.beams, sensor.columns), dtype=np.bool_)
    beam, column = np.nonzero(chosen)
    azimuth = sensor.azimuths_rad()
    delay_s = -azimuth / (2 * np.pi) * sensor.turn_s
    turned = azimuth + yaw_rate_rps * delay_s
    start = np.array([0, 0, sensor.height_m - sensor.origin_above_ground_m]) + delay_s[:, None] * velocity_mps
    elevation = sensor.elevations_rad()
    level, up = np.cos(elevation).astype(np.float32), np.sin(elevation).astype(np.float32)
    ahead, aside = np.cos(turned).astype(np.float32), np.sin(turned).astype(np.float32)
    directions = np.stack([level[beam] * ahead[column], level[beam] * aside[column], up[beam]], axis=1)
    return Rays(
        origins=start.astype(np.float32)[column],
        directions=directions,
        column=column.astype(np.int32),
        beam=beam.astype(np.int32),
    )


def scan(
    scenes: tuple[RayScene, ...],
    rays: Rays,
    world_from_lidar: Floats,
    sensor: Sensor,
    weather: Weather,
    generator: np.random.Generator,
) -> Scan:
    """Cast the rays and keep what comes back."""
    rotation, shift = world_from_lidar[:3, :3].astype(np.float32), world_from_lidar[:3, 3].astype(np.float32)
    origins, directions = rays.origins @ rotation.T + shift, rays.directions @ rotation.T
    hits = cast_at(scenes, origins, directions)
    reach_m = hits.distance_m.copy()
    returned = _through_glass(scenes, hits, origins, directions, generator)
    positions = origins + directions * np.where(np.isfinite(hits.distance_m), hits.distance_m, 0)[:, None]
    brightness = _brightness(hits, positions, weather)
    draws = generator.random((2, len(hits)), dtype=np.float32)
    near, far = sensor.range_m
    returned &= (hits.distance_m > near) & (hits.distance_m < far)
    returned &= draws[0] < _noticed(hits, brightness, sensor, weather)
    returned &= (hits.material != Material.WINDOW) | (draws[1] > WINDOW_LOSES)
    returned |= _backscatter(hits, brightness, weather, generator)
    kept = np.flatnonzero(returned)
    seen = hits.at(kept)
    distance = _measured(seen, sensor, generator)
    intensity = _intensity(seen, brightness[kept], sensor, generator)
    points = np.empty((len(kept), 4), dtype=np.float32)
    points[:, :3] = rays.origins[kept] + rays.directions[kept] * distance[:, None]
    points[:, 3] = intensity
    return Scan(points=points, semantic=seen.semantic, instance=seen.instance, ray=kept, reach_m=reach_m)


def _through_glass(
    scenes: tuple[RayScene, ...], hits: Hits, origins: Vectors, directions: Vectors, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Follow pulses through car windows; changes `hits`, and says which pulses were not absorbed on the way."""
    alive = np.ones(len(hits), dtype=np.bool_)
    glass = np.flatnonzero(hits.material == Material.GLASS)
    glass = glass[np.isfinite(hits.distance_m[glass])]
    for _ in range(MAX_PANES):
        fate = generator.random(len(glass))
        alive[glass[(fate >= GLASS_RETURNS) & (fate < GLASS_RETURNS + GLASS_ABSORBS)]] = False
        glass = glass[fate >= GLASS_RETURNS + GLASS_ABSORBS]
        if not len(glass):
            return alive
        start = hits.distance_m[glass] + 0.01
        beyond = cast_at(scenes, origins[glass] + directions[glass] * start[:, None], directions[glass])
        beyond.distance_m += start
        hits.put(glass, beyond)
        glass = glass[(beyond.material == Material.GLASS) & np.isfinite(beyond.distance_m)]
    alive[glass] = False
    return alive


def _brightness(hits: Hits, positions: Vectors, weather: Weather) -> NDArray[np.float32]:
    """(R,) float32 intensity of each return, 0 to 1, before noise."""
    reflectivity, falloff, variation = table("reflectivity"), table("falloff"), table("variation")
    material = hits.material
    own = shade_of(np.where(hits.instance > 0, hits.instance.astype(np.int64), _cells(positions)))
    bright = reflectivity[material] * (1 + variation[material] * own)
    bright = bright * np.maximum(hits.cosine, 0.01) ** falloff[material]
    if weather.wetness:
        bright = np.where(np.isin(material, GROUND), bright * (1 - 0.45 * weather.wetness), bright)
    return bright.astype(np.float32)


def _cells(positions: Vectors) -> NDArray[np.int64]:
    cell = np.floor(positions / CELL_M).astype(np.int64)
    number: NDArray[np.int64] = cell[:, 0] * 7919 + cell[:, 1] * 104729 + 2**20
    return number


def shade_of(number: NDArray[np.int64]) -> NDArray[np.float32]:
    """A number from -1 to 1 that belongs to each whole number: what makes one object darker than the next."""
    mixed = (number.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    return mixed.astype(np.float32) / np.float32(2**23) - 1


def _noticed(hits: Hits, brightness: NDArray[np.float32], sensor: Sensor, weather: Weather) -> NDArray[np.float32]:
    """(R,) probability that a return is strong enough to be noticed."""
    distance = np.where(np.isfinite(hits.distance_m), hits.distance_m, np.float32(1e6))
    strength = brightness * np.sqrt(np.maximum(hits.cosine, 1e-3)) * (sensor.fade_m / np.maximum(distance, 1.0)) ** 2
    if weather.extinction_per_m:
        strength = strength * np.exp(-2 * weather.extinction_per_m * distance)
    if weather.wetness:
        is_ground = np.isin(hits.material, GROUND)
        strength = np.where(is_ground, strength * (1 - 0.8 * weather.wetness * (1 - hits.cosine)), strength)
    mirrored = np.where(hits.material == Material.PAINT, MIRRORING * (1 - hits.cosine), np.float32(0))
    noticed: NDArray[np.float32] = (
        (1 - sensor.loss) * (1 - weather.loss) * (1 - mirrored) * (1 - np.exp(-strength / EASILY_SEEN))
    )
    return noticed


def _backscatter(
    hits: Hits, brightness: NDArray[np.float32], weather: Weather, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Pulses that drops in the air send back; changes their `hits` and `brightness`."""
    if not weather.backscatter:
        return np.zeros(len(hits), dtype=np.bool_)
    is_hit = generator.random(len(hits)) < weather.backscatter
    distance = (1.5 + generator.exponential(weather.backscatter_m, size=len(hits))).astype(np.float32)
    is_hit &= distance < np.minimum(hits.distance_m, 40)
    drops = np.flatnonzero(is_hit)
    hits.distance_m[drops] = distance[drops]
    hits.semantic[drops], hits.instance[drops] = SemanticClass.NOISE, 0
    hits.material[drops] = Material.WINDOW
    brightness[drops] = generator.uniform(0, 0.12, size=len(drops))
    return is_hit


def _intensity(
    seen: Hits, brightness: NDArray[np.float32], sensor: Sensor, generator: np.random.Generator
) -> NDArray[np.float32]:
    """(N,) float32 measured intensities, 0 to 1 in steps of a hundredth."""
    beyond = np.maximum(seen.distance_m - DIMMING_FROM_M, 0) / np.float32(sensor.dimming_m)
    dimmed = np.where(seen.material == Material.RETROREFLECTOR, brightness, brightness * np.exp(-beyond))
    steps = generator.standard_normal((2, len(seen)), dtype=np.float32)
    measured = dimmed * (1 + INTENSITY_NOISE * steps[0]) + INTENSITY_FLOOR * (steps[1] - 0.4)
    measured = np.where(generator.random(len(seen), dtype=np.float32) < UNMEASURED, 0, measured)
    intensity: NDArray[np.float32] = (np.round(np.clip(measured, 0, 1) * 100) / 100).astype(np.float32)
    return intensity


def _measured(seen: Hits, sensor: Sensor, generator: np.random.Generator) -> NDArray[np.float32]:
    """(N,) float32 ranges with noise, as multiples of the sensor's step."""
    spread = np.hypot(np.float32(sensor.noise_m), table("spread_m")[seen.material])
    steps = np.clip(generator.standard_normal(len(seen), dtype=np.float32), -NOISE_LIMIT, NOISE_LIMIT)
    step_m = np.float32(sensor.step_m)
    measured: NDArray[np.float32] = (np.round((seen.distance_m + spread * steps) / step_m) * step_m).astype(np.float32)
    return measured
