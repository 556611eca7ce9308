"""What stands on sidewalks: lamp posts, signs, traffic lights, bollards, bins, bus shelters."""

from __future__ import annotations

import numpy as np

from shared_models.simulation.materials import Material, SemanticClass
from shared_models.simulation.mesh import Mesh, boxes, joined, surface, tube


def lamp_post(generator: np.random.Generator) -> Mesh:
    """A lamp post on z = 0 whose arm reaches along y."""
    height = generator.uniform(4.5, 8.5)
    parts = [tube((0, 0, -0.3), (0, 0, height), 0.09, 0.06), tube((0, 0, height), (0, 1.4, height + 0.2), 0.04, 0.04)]
    return surface(np.concatenate(parts), Material.METAL, SemanticClass.POLE)


def traffic_sign(generator: np.random.Generator) -> Mesh:
    """A sign on a thin post that looks along -x."""
    height, half = generator.uniform(2.0, 2.7), generator.uniform(0.3, 0.42)
    post = surface(tube((0, 0, -0.2), (0, 0, height + half), 0.035, 0.035), Material.METAL, SemanticClass.POLE)
    plate = surface(
        boxes([(-0.05, 0, height)], [(0.02, 2 * half, 2 * half)]), Material.RETROREFLECTOR, SemanticClass.SIGN
    )
    return joined([post, plate])


def traffic_light(generator: np.random.Generator) -> Mesh:
    """A traffic light that looks along -x."""
    post = surface(tube((0, 0, -0.2), (0, 0, 3.4), 0.07, 0.06), Material.METAL, SemanticClass.POLE)
    lamp = surface(boxes([(-0.15, 0, 2.9)], [(0.25, 0.32, 0.95)]), Material.METAL, SemanticClass.SIGN)
    return joined([post, lamp])


def bollard(generator: np.random.Generator) -> Mesh:
    """A bollard, knee-high to waist-high."""
    height = generator.uniform(0.5, 1.0)
    return surface(tube((0, 0, -0.1), (0, 0, height), 0.08, 0.07), Material.METAL, SemanticClass.POLE)


def bin_(generator: np.random.Generator) -> Mesh:
    """A dustbin or a switch box."""
    size = generator.uniform([0.4, 0.5, 0.9], [0.8, 1.3, 1.4])
    return surface(boxes([(0, 0, size[2] / 2)], [size]), Material.CONCRETE, SemanticClass.WALL)


def bus_shelter(generator: np.random.Generator) -> Mesh:
    """A shelter along x, open towards -y."""
    length = generator.uniform(3, 5)
    back = boxes([(0, 1.3, 1.15), (0, 0.7, 2.4)], [(length, 0.05, 2.1), (length + 0.3, 1.5, 0.1)])
    posts = np.concatenate([tube((x, 0.1, 0), (x, 0.1, 2.4), 0.04, 0.04) for x in (-length / 2, length / 2)])
    return joined(
        [
            surface(back, Material.WINDOW, SemanticClass.WALL),
            surface(posts, Material.METAL, SemanticClass.POLE),
        ]
    )
