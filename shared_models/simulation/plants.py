"""Trees, bushes and hedges: trunks, and clouds of small triangles that let part of the rays through."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shared_models.simulation.materials import Material, SemanticClass
from shared_models.simulation.mesh import Mesh, joined, scatter, surface, tube


def tree(generator: np.random.Generator, bare_share: tuple[float, float] = (0.2, 0.35)) -> Mesh:
    """A tree on z = 0: a trunk with two or three clouds of leaves, bare up to a share of its height."""
    height = generator.uniform(4.5, 11)
    bare = generator.uniform(*bare_share) * height
    lean = generator.normal(size=2) * 0.2
    girth = generator.uniform(0.08, 0.22)
    trunk = tube((0, 0, -0.3), (lean[0], lean[1], 0.6 * height), girth, 0.5 * girth, 7)
    crowns = []
    for _ in range(int(generator.integers(2, 4))):
        radius = generator.uniform(0.18, 0.28) * height
        centre = (
            *(lean + generator.normal(size=2) * 0.4 * radius),
            generator.uniform(bare + radius * 0.6, 0.8 * height),
        )
        count = int(22 * radius**2 * generator.uniform(0.6, 1.2)) + 25
        crowns.append(scatter(generator, count, centre, (radius, radius, 0.8 * radius), 0.43))
    return joined(
        [
            surface(trunk, Material.BARK, SemanticClass.TRUNK),
            surface(np.concatenate(crowns), Material.LEAVES, SemanticClass.VEGETATION),
        ]
    )


def bush(generator: np.random.Generator) -> Mesh:
    """A bush on z = 0, up to man-high or a little more."""
    radius = generator.uniform(0.5, 1.7)
    height = radius * generator.uniform(0.7, 1.5)
    count = int(40 * radius * height) + 20
    leaves = scatter(generator, count, (0, 0, height * 0.8), (radius, radius, height * 0.8), 0.29)
    return surface(leaves, Material.LEAVES, SemanticClass.VEGETATION)


class Nursery:
    """A stock of plants of one drive, each of which is used many times, turned and scaled."""

    def __init__(self, generator: np.random.Generator, bushes: int = 16, trees: int = 6) -> None:
        self._generator = generator
        self._bushes = [bush(generator) for _ in range(bushes)]
        self._street = [tree(generator) for _ in range(trees)]
        self._garden = [tree(generator, (0.03, 0.2)) for _ in range(trees)]

    def bush(self) -> Mesh:
        """A bush, up to man-high or a little more."""
        return self._scaled(self._bushes)

    def street_tree(self) -> Mesh:
        """A tree under whose crown one can walk."""
        return self._scaled(self._street)

    def garden_tree(self) -> Mesh:
        """A tree whose leaves begin low."""
        return self._scaled(self._garden)

    def _scaled(self, stock: list[Mesh]) -> Mesh:
        chosen = stock[int(self._generator.integers(len(stock)))]
        return replace(chosen, corners=chosen.corners * np.float32(self._generator.uniform(0.8, 1.2)))


def hedge(generator: np.random.Generator, length_m: float) -> Mesh:
    """A clipped hedge along x, from the origin, on z = 0: a dense core with leaves standing out of it."""
    height, depth = generator.uniform(0.9, 2.2), generator.uniform(0.5, 0.9)
    count = int(length_m * height * 18)
    middles = generator.uniform([0, -depth / 2, 0], [length_m, depth / 2, height], size=(count, 3))
    # most leaves on the faces: push each to the nearer side or to the top
    is_top = generator.uniform(size=count) < 0.25
    middles[:, 1] = np.where(is_top, middles[:, 1], np.sign(middles[:, 1]) * depth / 2)
    middles[:, 2] = np.where(is_top, height, middles[:, 2])
    leaves = middles[:, None] + generator.normal(size=(count, 3, 3)) * 0.13
    return surface(leaves, Material.LEAVES, SemanticClass.VEGETATION)
