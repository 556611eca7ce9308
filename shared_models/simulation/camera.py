"""The camera's picture by ray casting: colour, depth, classes and objects of every pixel."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared_models.records import CameraCalibration, CameraImage
from shared_models.simulation.lights import Lights, lit, sky_colours
from shared_models.simulation.materials import Material
from shared_models.simulation.raycast import Hits, RayScene, cast_at
from shared_models.simulation.textures import colours

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

GLASS_CLARITY: Final = 0.55  # share of the light that a window lets through
MIRRORED: Final = 0.35  # share of the sky in a window
VIEW_RANGE_M: Final = 400.0
HAZE_PER_M: Final = 0.0006
GAMMA: Final = 2.2
GRAIN: Final = 1.5  # standard deviation of the picture's noise in grey levels


def pixel_rays(camera: CameraCalibration, world_from_lidar: Floats) -> tuple[Vectors, Vectors, NDArray[np.float32]]:
    """Origins and directions (H * W, 3) of the rays through the pixels' centres, world, and their forward share."""
    height, width = camera.image_size
    matrix = camera.image_from_camera
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    seen = np.stack([(u - matrix[0, 2]) / matrix[0, 0], (v - matrix[1, 2]) / matrix[1, 1], np.ones_like(u)], axis=-1)
    forward = 1 / np.linalg.norm(seen, axis=-1)
    world_from_camera = world_from_lidar @ np.linalg.inv(camera.camera_from_lidar)
    directions = (seen * forward[..., None]).reshape(-1, 3) @ world_from_camera[:3, :3].T
    origins = np.broadcast_to(world_from_camera[:3, 3], directions.shape)
    return origins.astype(np.float32), directions.astype(np.float32), forward.reshape(-1).astype(np.float32)


def photograph(
    scenes: tuple[RayScene, ...],
    camera: CameraCalibration,
    world_from_lidar: Floats,
    lights: Lights,
    generator: np.random.Generator,
) -> CameraImage:
    """What the camera shows at this moment; glass counts as the surface of its vehicle."""
    origins, directions, forward = pixel_rays(camera, world_from_lidar)
    hits = cast_at(scenes, origins, directions)
    hits.distance_m[hits.distance_m > VIEW_RANGE_M] = np.inf
    radiance = _radiance(scenes, hits, origins, directions, lights)
    glass = np.flatnonzero((hits.material == Material.GLASS) & np.isfinite(hits.distance_m))
    if len(glass):
        start = origins[glass] + directions[glass] * (hits.distance_m[glass] + 0.01)[:, None]
        beyond = cast_at(scenes, start, directions[glass])
        behind = _radiance(scenes, beyond, start, directions[glass], lights)
        flipped = directions[glass] * np.array([1, 1, -1], dtype=np.float32)
        mirrored = MIRRORED * sky_colours(lights, flipped)
        radiance[glass] = GLASS_CLARITY * behind + (1 - GLASS_CLARITY) * (radiance[glass] + mirrored)
    shape = camera.image_size
    grey = (
        255 * radiance.clip(0, 1) ** (1 / GAMMA) + generator.standard_normal(radiance.shape, dtype=np.float32) * GRAIN
    )
    is_sky = ~np.isfinite(hits.distance_m)
    return CameraImage(
        colour=grey.round().clip(0, 255).astype(np.uint8).reshape(*shape, 3),
        depth_m=(hits.distance_m * forward).reshape(shape),
        semantic=np.where(is_sky, 0, hits.semantic).astype(np.uint8).reshape(shape),
        instance=np.where(is_sky, 0, hits.instance).astype(np.int32).reshape(shape),
    )


def _radiance(
    scenes: tuple[RayScene, ...], hits: Hits, origins: Vectors, directions: Vectors, lights: Lights
) -> Vectors:
    """(R, 3) float32 light that reaches the camera along each ray."""
    found = sky_colours(lights, directions)
    met = np.flatnonzero(np.isfinite(hits.distance_m))
    surfaces = hits.at(met)
    positions = origins[met] + directions[met] * surfaces.distance_m[:, None]
    own = colours(surfaces, positions) ** np.float32(1.6) * lit(lights, scenes, surfaces, positions)
    own += _gloss(surfaces, directions[met], lights)
    air = HAZE_PER_M + lights.weather.extinction_per_m * 0.6
    haze = (1 - np.exp(-air * surfaces.distance_m))[:, None]
    found[met] = own * (1 - haze) + found[met].mean(axis=0) * haze if len(met) else found[met]
    return found


def _gloss(hits: Hits, directions: Vectors, lights: Lights) -> Vectors:
    """The sky mirrored in paint, windows and wet ground."""
    shine = np.zeros(len(hits), dtype=np.float32)
    shine[hits.material == Material.PAINT] = 0.10
    shine[hits.material == Material.WINDOW] = 0.25
    shine[hits.material == Material.ASPHALT] = 0.20 * lights.weather.wetness
    along = (directions * hits.normal).sum(axis=1, keepdims=True)
    mirrored = directions - 2 * along * hits.normal
    fresnel = 0.25 + 0.75 * (1 + along.clip(-1, 0)) ** 3
    gloss: Vectors = shine[:, None] * fresnel * sky_colours(lights, mirrored) * (mirrored[:, 2:] > -0.05)
    return gloss.astype(np.float32)
