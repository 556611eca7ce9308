"""Procedural colours of surfaces: a pure function of material, object and place in the world."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared_models.simulation.materials import Material, table
from shared_models.simulation.raycast import Hits

Vectors = NDArray[np.float32]

PAINTS: Final = np.array(
    [
        (0.82, 0.82, 0.82), (0.62, 0.63, 0.65), (0.30, 0.31, 0.33), (0.07, 0.07, 0.08), (0.10, 0.16, 0.34),
        (0.46, 0.06, 0.06), (0.72, 0.72, 0.70), (0.16, 0.17, 0.19), (0.10, 0.26, 0.18), (0.58, 0.50, 0.38),
    ],
    dtype=np.float32,
)  # fmt: skip
CLOTHS: Final = np.array(
    [
        (0.12, 0.14, 0.24), (0.08, 0.08, 0.09), (0.45, 0.10, 0.12), (0.55, 0.55, 0.52), (0.16, 0.28, 0.18),
        (0.62, 0.48, 0.22), (0.20, 0.30, 0.48), (0.34, 0.26, 0.20),
    ],
    dtype=np.float32,
)  # fmt: skip
PATCH_M: Final = 6.0  # houses and walls change their colour from patch to patch
BRICK_M: Final = (0.25, 0.08)  # length and height
SPECKLE: Final = {
    Material.ASPHALT: (12.0, 0.10),
    Material.PAVING: (2.0, 0.10),
    Material.GRASS: (9.0, 0.30),
    Material.LEAVES: (6.0, 0.35),
    Material.BARK: (15.0, 0.25),
    Material.PLASTER: (5.0, 0.05),
    Material.CONCRETE: (4.0, 0.08),
    Material.ROOF_TILE: (4.0, 0.20),
    Material.CLOTH: (8.0, 0.12),
}  # cells per metre and strength of the grain


def hashed(*numbers: NDArray[Any]) -> NDArray[np.float32]:
    """Evenly spread numbers from 0 to 1 that depend only on the whole numbers given."""
    state = np.full(numbers[0].shape, 0x9E3779B9, dtype=np.uint32)
    for number in numbers:
        state = (state ^ number.astype(np.int64).astype(np.uint32)) * np.uint32(0x85EBCA6B)
        state = (state ^ (state >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        state ^= state >> np.uint32(16)
    return (state >> np.uint32(8)).astype(np.float32) / np.float32(2**24)


def colours(hits: Hits, positions: Vectors) -> Vectors:
    """(R, 3) float32 colour of each hit surface by white light, 0 to 1; `positions` are (R, 3), world."""
    found = table("colour")[hits.material]
    for material, palette in ((Material.PAINT, PAINTS), (Material.CLOTH, CLOTHS)):
        of = np.flatnonzero(hits.material == material)
        number = hits.instance[of].astype(np.int64)
        # a person's trousers and jacket differ
        level = np.zeros_like(number) if material == Material.PAINT else _upper(hits, positions, of)
        found[of] = palette[(hashed(number, level) * len(palette)).astype(np.int64)]
    patch = np.floor(positions / PATCH_M).astype(np.int64)
    tint = hashed(patch[:, 0], patch[:, 1])[:, None]
    is_wall = np.isin(hits.material, (Material.PLASTER, Material.BRICK, Material.CONCRETE, Material.WOOD))
    found = np.where(is_wall[:, None], found * (0.75 + 0.4 * tint), found)
    grain = np.ones(len(hits), dtype=np.float32)
    for material, (per_m, strength) in SPECKLE.items():
        of = np.flatnonzero(hits.material == material)
        cell = np.floor(positions[of] * per_m).astype(np.int64)
        grain[of] = 1 + strength * (2 * hashed(cell[:, 0], cell[:, 1], cell[:, 2]) - 1)
    grain *= _mortar(hits, positions)
    return (found * grain[:, None]).astype(np.float32)


def _upper(hits: Hits, positions: Vectors, of: NDArray[np.int64]) -> NDArray[np.int64]:
    """1 for the upper half of what each object shows, 0 for the lower."""
    instance, height = hits.instance[of], positions[of, 2]
    top = np.full(int(instance.max(initial=0)) + 1, -np.inf, dtype=np.float32)
    np.maximum.at(top, instance, height)
    upper: NDArray[np.int64] = (height > top[instance] - 0.75).astype(np.int64)
    return upper


def _mortar(hits: Hits, positions: Vectors) -> NDArray[np.float32]:
    """Darker joints between bricks."""
    along = np.where(np.abs(hits.normal[:, 0]) > np.abs(hits.normal[:, 1]), positions[:, 1], positions[:, 0])
    course = np.floor(positions[:, 2] / BRICK_M[1])
    u = along / BRICK_M[0] + 0.5 * (course % 2)
    in_joint = (u - np.floor(u) < 0.06) | (positions[:, 2] / BRICK_M[1] - course < 0.14)
    return np.where(in_joint & (hits.material == Material.BRICK), np.float32(0.7), np.float32(1))
