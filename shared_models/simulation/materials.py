"""What surfaces are made of: how they answer a laser pulse and how they look."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray


class Material(IntEnum):
    """Names of the rows of every material table."""

    ASPHALT = 0
    MARKING = 1
    PAVING = 2
    GRASS = 3
    PLASTER = 4
    BRICK = 5
    WINDOW = 6  # of a building: dark, lets nothing through
    CONCRETE = 7
    WOOD = 8
    METAL = 9
    LEAVES = 10
    BARK = 11
    PAINT = 12  # of a vehicle: varies from vehicle to vehicle
    GLASS = 13  # of a vehicle: returns, absorbs or lets through
    RUBBER = 14
    RETROREFLECTOR = 15  # number plates and traffic signs
    CLOTH = 16
    SKIN = 17
    INTERIOR = 18
    ROOF_TILE = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """How one material behaves.

    reflectivity: intensity of a perpendicular return, 0 to 1, in KITTI's scale.
    falloff: power of the incidence angle's cosine in the intensity: 0 scatters alike to all sides, 1 is Lambert's law.
    variation: share by which the reflectivity differs between objects.
    spread_m: standard deviation that roughness adds to the measured range.
    colour: [red green blue] by daylight, 0 to 1.
    """

    reflectivity: float
    falloff: float = 0.3
    variation: float = 0.15
    spread_m: float = 0.0
    colour: tuple[float, float, float] = (0.5, 0.5, 0.5)


# Intensities follow what KITTI's scans show: median 0.3, 5 % of points at 0, plates and signs near 1.
SURFACES: Final[dict[Material, Surface]] = {
    Material.ASPHALT: Surface(
        reflectivity=0.33, falloff=0.06, variation=0.25, spread_m=0.004, colour=(0.26, 0.26, 0.27)
    ),
    Material.MARKING: Surface(reflectivity=0.55, falloff=0.05, colour=(0.85, 0.85, 0.82)),
    Material.PAVING: Surface(
        reflectivity=0.37, falloff=0.05, variation=0.25, spread_m=0.005, colour=(0.48, 0.46, 0.44)
    ),
    Material.GRASS: Surface(reflectivity=0.43, falloff=0.05, variation=0.25, spread_m=0.03, colour=(0.28, 0.38, 0.17)),
    Material.PLASTER: Surface(reflectivity=0.40, variation=0.5, colour=(0.76, 0.71, 0.62)),
    Material.BRICK: Surface(reflectivity=0.30, variation=0.4, colour=(0.52, 0.29, 0.22)),
    Material.WINDOW: Surface(reflectivity=0.08, falloff=4.0, colour=(0.22, 0.28, 0.33)),
    Material.CONCRETE: Surface(reflectivity=0.30, variation=0.4, colour=(0.58, 0.57, 0.55)),
    Material.WOOD: Surface(reflectivity=0.36, variation=0.3, colour=(0.43, 0.32, 0.21)),
    Material.METAL: Surface(reflectivity=0.30, falloff=1.0, variation=0.4, colour=(0.45, 0.47, 0.48)),
    Material.LEAVES: Surface(reflectivity=0.33, falloff=0.6, variation=0.5, spread_m=0.05, colour=(0.21, 0.34, 0.13)),
    Material.BARK: Surface(reflectivity=0.30, spread_m=0.01, colour=(0.30, 0.24, 0.19)),
    Material.PAINT: Surface(reflectivity=0.28, falloff=0.6, variation=0.95, colour=(0.6, 0.6, 0.6)),
    Material.GLASS: Surface(reflectivity=0.05, falloff=2.0, colour=(0.12, 0.15, 0.17)),
    Material.RUBBER: Surface(reflectivity=0.06, colour=(0.07, 0.07, 0.07)),
    Material.RETROREFLECTOR: Surface(reflectivity=0.97, falloff=0.0, variation=0.05, colour=(0.9, 0.9, 0.75)),
    Material.CLOTH: Surface(reflectivity=0.34, variation=0.7, spread_m=0.006, colour=(0.4, 0.4, 0.45)),
    Material.SKIN: Surface(reflectivity=0.40, colour=(0.78, 0.60, 0.50)),
    Material.INTERIOR: Surface(reflectivity=0.18, variation=0.3, colour=(0.18, 0.17, 0.17)),
    Material.ROOF_TILE: Surface(reflectivity=0.28, colour=(0.45, 0.22, 0.16)),
}


def table(field: str) -> NDArray[np.float32]:
    """(materials, ...) float32: one field of every surface, indexed by `Material`."""
    return np.array([getattr(SURFACES[material], field) for material in Material], dtype=np.float32)


class SemanticClass(IntEnum):
    """What a point lies on; the names are the frame's `semantic_names`."""

    NOISE = 0
    ROAD = 1
    SIDEWALK = 2
    TERRAIN = 3
    BUILDING = 4
    WALL = 5
    FENCE = 6
    POLE = 7
    SIGN = 8
    VEGETATION = 9
    TRUNK = 10
    CAR = 11
    VAN = 12
    TRUCK = 13
    PEDESTRIAN = 14
    CYCLIST = 15


SEMANTIC_NAMES: Final = tuple(member.name.lower() for member in SemanticClass)
