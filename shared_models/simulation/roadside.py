"""What stands beside the street of a drive: lots with houses or gardens or parked cars, trees and furniture."""

from __future__ import annotations

import numpy as np

from shared_models.simulation.buildings import fence, house, wall
from shared_models.simulation.domains import StreetKind
from shared_models.simulation.furniture import bin_, bollard, bus_shelter, lamp_post, traffic_light, traffic_sign
from shared_models.simulation.mesh import Mesh, joined, pose
from shared_models.simulation.plants import Nursery, hedge
from shared_models.simulation.roads import Road
from shared_models.simulation.traffic import Actor, Populace, parking_lot

BUSH_M2 = 5.0  # of garden for each bush
PIECE_M = 8.0  # walls, fences and hedges follow the ground in pieces of this length


def put(road: Road, mesh: Mesh, s: float, d: float, turn_rad: float = 0.0) -> Mesh:
    """`mesh` standing on the ground at (s, d), turned relative to the street."""
    x, y, z, heading = road.stand(s, d)
    return mesh.placed(pose(x, y, z, heading + turn_rad))


def roadside(
    generator: np.random.Generator, populace: Populace, road: Road, kind: StreetKind
) -> tuple[Mesh, list[Actor]]:
    """Everything beside the street, and the cars parked there."""
    parts: list[Mesh] = []
    cars: list[Actor] = []
    nursery = Nursery(generator)
    for side in (1, -1):
        setback = generator.uniform(*kind.setback_m)
        for begin, end in _blocks(road):
            lots, parked = _lots(generator, nursery, populace, road, kind, (begin, end), side, setback)
            parts += lots
            cars += parked
        parts += _trees(generator, nursery, road, kind, side, setback)
        parts += _furniture(generator, road, side)
    return joined(parts), cars


def _blocks(road: Road) -> list[tuple[float, float]]:
    """The stretches between side streets."""
    edges = [0.0]
    for crossing in road.crossings:
        edges += [crossing.s_m - crossing.half_width_m - 1.5, crossing.s_m + crossing.half_width_m + 1.5]
    edges.append(road.length_m)
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 10]


def _lots(
    generator: np.random.Generator, nursery: Nursery, populace: Populace, road: Road, kind: StreetKind,
    block: tuple[float, float], side: int, setback: float,
) -> tuple[list[Mesh], list[Actor]]:  # fmt: skip
    parts: list[Mesh] = []
    cars: list[Actor] = []
    s, end = block
    front = road.half_width_m + road.sidewalk_m + 0.3
    while end - s > 7:
        width = min(generator.uniform(8, 24), end - s)
        draw = generator.uniform()
        if draw < 0.06 and width > 12:
            cars += parking_lot(generator, populace, s, s + width, front + 0.5, side)
        elif draw < 0.32:
            parts += _garden(generator, nursery, road, s, width, front, side)
        else:
            own = max(0.0, setback + generator.normal() * 0.5)
            storeys = int(generator.integers(kind.storeys[0], kind.storeys[1] + 1))
            mesh = house(generator, width, generator.uniform(8, 14), storeys)
            begin = s if side > 0 else s + width
            parts.append(put(road, mesh, begin, side * (front + own), 0.0 if side > 0 else np.pi))
            if own > 1.0:
                parts += _border(generator, road, s, width, front, side)
                parts += _bushes(generator, nursery, road, s, width, front, own, side)
        gap = generator.uniform(*kind.gap_m)
        if gap > 4:
            parts += _garden(generator, nursery, road, s + width, gap, front + 1, side)
        s += width + gap
    return parts, cars


def _border(
    generator: np.random.Generator, road: Road, begin: float, length: float, front: float, side: int
) -> list[Mesh]:
    """A wall, fence or hedge between a lot and the sidewalk, or nothing."""
    draw = generator.uniform()
    maker = wall if draw < 0.08 else fence if draw < 0.22 else hedge if draw < 0.80 else None
    if maker is None:
        return []
    pieces = np.arange(begin, begin + length - 1.5, PIECE_M)
    state = generator.integers(2**32)
    found = []
    for s in pieces:
        alike = np.random.Generator(np.random.PCG64(int(state)))  # every piece of one border looks the same
        found.append(put(road, maker(alike, float(min(PIECE_M, begin + length - s))), float(s), side * front))
    return found


def _bushes(
    generator: np.random.Generator, nursery: Nursery, road: Road, begin: float, length: float, front: float,
    depth: float, side: int,
) -> list[Mesh]:  # fmt: skip
    """Bushes on a lot, denser towards the sidewalk."""
    found = []
    for _ in range(generator.poisson(length * min(depth, 8.0) / BUSH_M2)):
        s, d = begin + generator.uniform(0, length), front + 0.8 + (depth - 0.8) * generator.uniform() ** 1.5
        found.append(put(road, nursery.bush(), s, side * d, generator.uniform(0, 6)))
    return found


def _garden(
    generator: np.random.Generator, nursery: Nursery, road: Road, begin: float, length: float, front: float, side: int
) -> list[Mesh]:
    """A lot without a house: a border, bushes and trees."""
    parts = _border(generator, road, begin, length, front, side)
    parts += _bushes(generator, nursery, road, begin, length, front, 12.0, side)
    for _ in range(generator.poisson(length * 0.22)):
        s, d = begin + generator.uniform(0, length), side * (front + generator.uniform(2.5, 18))
        parts.append(put(road, nursery.garden_tree(), s, d, generator.uniform(0, 6)))
    return parts


def _trees(
    generator: np.random.Generator, nursery: Nursery, road: Road, kind: StreetKind, side: int, setback: float
) -> list[Mesh]:
    """A row of trees, on the sidewalk where that is wide, else behind it."""
    spacing = generator.uniform(*kind.tree_spacing_m)
    d = road.half_width_m + (0.6 if road.sidewalk_m > 2.2 else road.sidewalk_m + min(1.5, 0.3 + setback / 2))
    found = []
    s = generator.uniform(0, spacing)
    while s < road.length_m:
        near = [s - 3.0, s, s + 3.0]
        if not road.is_crossing(near).any() and generator.uniform() < 0.8:
            found.append(put(road, nursery.street_tree(), s, side * d, generator.uniform(0, 6)))
        s += spacing * generator.uniform(0.8, 1.2)
    return found


def _furniture(generator: np.random.Generator, road: Road, side: int) -> list[Mesh]:
    d = side * (road.half_width_m + 0.45)
    inward = np.pi if side > 0 else 0.0
    found = []
    for s in np.arange(generator.uniform(5, 30), road.length_m, generator.uniform(24, 40)):
        if not road.is_crossing([s])[0]:
            found.append(put(road, lamp_post(generator), float(s), d, inward))
    for maker, per_m in ((traffic_sign, 0.02), (bollard, 0.025), (bin_, 0.012)):
        for s in generator.uniform(0, road.length_m, size=generator.poisson(per_m * road.length_m)):
            if not road.is_crossing([s])[0]:
                turn = 0.0 if side < 0 else np.pi
                found.append(put(road, maker(generator), float(s), d + side * generator.uniform(-0.1, 0.3), turn))
    if road.sidewalk_m > 2.0 and generator.uniform() < 0.5:
        s = generator.uniform(0.3, 0.7) * road.length_m
        found.append(
            put(road, bus_shelter(generator), s, d + side * (road.sidewalk_m - 2.0), 0.0 if side > 0 else np.pi)
        )
    for crossing in road.crossings:
        if generator.uniform() < 0.4:
            s = crossing.s_m - side * (crossing.half_width_m + 0.6)
            found.append(put(road, traffic_light(generator), s, d, 0.0 if side < 0 else np.pi))
    return found
