"""Houses with windows, doors and roofs, and what stands around them: walls, fences, hedges, gardens."""

from __future__ import annotations

import numpy as np

from shared_models.simulation.materials import Material, SemanticClass
from shared_models.simulation.mesh import Corners, Mesh, boxes, joined, quads, surface

STOREY_M = 3.0
FOUNDATION_M = 1.5  # below the ground, so that no gap opens on a slope
FACADES = (Material.PLASTER, Material.PLASTER, Material.BRICK, Material.CONCRETE)


def house(generator: np.random.Generator, front_m: float, depth_m: float, storeys: int) -> Mesh:
    """A house on z = 0 whose front lies along x from 0 to `front_m` at y = 0 and which reaches to y = `depth_m`."""
    height = storeys * STOREY_M + generator.uniform(0.3, 0.9)
    facade = FACADES[int(generator.integers(len(FACADES)))]
    walls = boxes(
        [(front_m / 2, depth_m / 2, (height - FOUNDATION_M) / 2)], [(front_m, depth_m, height + FOUNDATION_M)]
    )
    parts = [
        surface(walls, facade, SemanticClass.BUILDING),
        surface(_windows(generator, front_m, depth_m, storeys), Material.WINDOW, SemanticClass.BUILDING),
    ]
    if generator.uniform() < 0.7:
        roof = _gable(front_m, depth_m, height, generator.uniform(0.25, 0.5) * depth_m)
        parts.append(surface(roof, Material.ROOF_TILE, SemanticClass.BUILDING))
    if generator.uniform() < 0.5:
        parts.append(surface(_front_details(generator, front_m), facade, SemanticClass.BUILDING))
    return joined(parts)


def _windows(generator: np.random.Generator, front_m: float, depth_m: float, storeys: int) -> Corners:
    """Window panes 2 cm before the front and both sides."""
    spacing, wide, tall = generator.uniform(1.9, 3.4), generator.uniform(0.9, 1.5), generator.uniform(1.1, 1.7)
    panes = []
    for storey in range(storeys):
        sill = storey * STOREY_M + 0.9
        for x in np.arange(spacing / 2, front_m - wide, spacing):
            panes.append(
                [(x, -0.02, sill), (x + wide, -0.02, sill), (x + wide, -0.02, sill + tall), (x, -0.02, sill + tall)]
            )
        for x in (-0.02, front_m + 0.02):
            for y in np.arange(spacing, depth_m - wide, 1.6 * spacing):
                panes.append([(x, y, sill), (x, y + wide, sill), (x, y + wide, sill + tall), (x, y, sill + tall)])
    return quads(panes)


def _gable(front_m: float, depth_m: float, height: float, rise: float) -> Corners:
    over = 0.4
    x0, x1, y0, y1, ridge = -over, front_m + over, -over, depth_m + over, depth_m / 2
    top = height + rise
    slopes = [
        [(x0, y0, height), (x1, y0, height), (x1, ridge, top), (x0, ridge, top)],
        [(x0, y1, height), (x1, y1, height), (x1, ridge, top), (x0, ridge, top)],
    ]
    ends = [[(x, 0, height), (x, depth_m, height), (x, ridge, top)] for x in (0, front_m)]
    return np.concatenate([quads(slopes), np.array(ends, dtype=np.float32)])


def _front_details(generator: np.random.Generator, front_m: float) -> Corners:
    """Steps to the door and bays or balconies."""
    door = generator.uniform(0.1, 0.8) * front_m
    centres, sizes = [(door, -0.5, 0.1), (door, -0.3, 0.3)], [(1.8, 1.0, 0.8), (1.8, 0.6, 0.8)]
    for x in np.arange(2.0, front_m - 2, 5.0):
        if generator.uniform() < 0.4:
            centres.append((float(x), -0.45, 3.6))
            sizes.append((2.4, 0.9, 1.1))
    return boxes(centres, sizes)


def wall(generator: np.random.Generator, length_m: float) -> Mesh:
    """A garden wall along x from the origin."""
    height = generator.uniform(0.6, 2.2)
    corners = boxes([(length_m / 2, 0, height / 2 - 0.3)], [(length_m, 0.25, height + 0.6)])
    material = Material.BRICK if generator.uniform() < 0.4 else Material.CONCRETE
    return surface(corners, material, SemanticClass.WALL)


def fence(generator: np.random.Generator, length_m: float) -> Mesh:
    """Posts, rails and pickets along x from the origin; rays pass between the pickets."""
    height, pitch = generator.uniform(0.9, 1.8), generator.uniform(0.13, 0.22)
    is_wood = generator.uniform() < 0.6
    width = pitch * (0.55 if is_wood else 0.2)
    x = np.arange(0, length_m, pitch)
    low, high = np.full_like(x, 0.05), np.full_like(x, height)
    y = np.zeros_like(x)
    pickets = quads(
        np.stack(
            [np.stack(c, axis=1) for c in ((x, y, low), (x + width, y, low), (x + width, y, high), (x, y, high))],
            axis=1,
        )
    )
    posts_x = np.arange(0, length_m + 0.1, 2.5)
    posts = boxes([(p, 0.05, height / 2 - 0.1) for p in posts_x], [(0.1, 0.1, height + 0.2)] * len(posts_x))
    rails = boxes([(length_m / 2, 0.03, z * height) for z in (0.25, 0.8)], [(length_m, 0.04, 0.08)] * 2)
    material = Material.WOOD if is_wood else Material.METAL
    return surface(np.concatenate([pickets, posts, rails]), material, SemanticClass.FENCE)
