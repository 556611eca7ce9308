"""The street of a drive: a winding centre line with lanes, kerbs, crossings and gentle hills.

Places on it are given as `s` metres along the centre line and `d` metres to its left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared_models.simulation.domains import StreetKind
from shared_models.simulation.materials import Material, SemanticClass
from shared_models.simulation.mesh import Mesh, joined, quads, surface

Floats = NDArray[np.float64]

KERB_M = 0.12
STATION_M = 5.0
SMOOTHEST_RADIUS_M = 110.0
PARKING_LANE_M = 2.3
MARKING_LIFT_M = 0.008  # above the asphalt, so that rays meet the paint first
BORDER_M = (2.5, 8.0, 18.0, 35.0, 60.0)  # beyond the sidewalk, where the ground's profile may bend


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A side street at `s_m`, from there `half_width_m` wide to both sides."""

    s_m: float
    half_width_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """One street and the ground beside it.

    line: (P, 4) float64 [s x y heading] of the centre line, every metre.
    waves: (W, 4) float64 [amplitude, wave number in x and y, phase] of the hills.
    banks: rise of the ground beyond the left and the right sidewalk, metres per metre.
    """

    line: Floats
    waves: Floats
    banks: tuple[float, float]
    lanes: int
    lane_m: float
    has_parking: bool
    sidewalk_m: float
    crossings: tuple[Crossing, ...]

    @property
    def length_m(self) -> float:
        return float(self.line[-1, 0])

    @property
    def half_width_m(self) -> float:
        """From the centre line to the kerb."""
        return self.lanes * self.lane_m + (PARKING_LANE_M if self.has_parking else 0.3)

    def lane_offset_m(self, lane: int, direction: int) -> float:
        """`d` of a lane's middle; traffic keeps to the right, so lanes along the line (direction 1) have d < 0."""
        return -direction * (lane + 0.5) * self.lane_m

    def at(self, s: ArrayLike, d: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """x, y and the line's heading at (s, d); s beyond the ends continues straight."""
        along, aside = np.broadcast_arrays(np.asarray(s, dtype=np.float64), np.asarray(d, dtype=np.float64))
        table = self.line
        x, y = np.interp(along, table[:, 0], table[:, 1]), np.interp(along, table[:, 0], table[:, 2])
        heading = np.interp(along, table[:, 0], table[:, 3])
        beyond = along - np.clip(along, 0, self.length_m)
        cosine, sine = np.cos(heading), np.sin(heading)
        return x + beyond * cosine - aside * sine, y + beyond * sine + aside * cosine, heading

    def hills_m(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Height of the road's surface at (x, y)."""
        amplitude, kx, ky, phase = self.waves.T
        angle = np.asarray(x)[..., None] * kx + np.asarray(y)[..., None] * ky + phase
        height: Floats = (amplitude * np.sin(angle)).sum(axis=-1)
        return height

    def is_crossing(self, s: ArrayLike) -> NDArray[np.bool_]:
        """Whether a side street leaves at s."""
        along = np.asarray(s, dtype=np.float64)
        inside = np.zeros(along.shape, dtype=np.bool_)
        for crossing in self.crossings:
            inside |= np.abs(along - crossing.s_m) < crossing.half_width_m
        return inside

    def raised_m(self, s: ArrayLike, d: ArrayLike) -> Floats:
        """Height of the ground at (s, d) above the hills: kerb, sidewalk and bank."""
        aside = np.asarray(d, dtype=np.float64)
        beyond = np.clip(np.abs(aside) - self.half_width_m - self.sidewalk_m, 0, 25.0)
        slope = np.where(aside > 0, self.banks[0], self.banks[1])
        raised = np.where(np.abs(aside) > self.half_width_m, KERB_M + slope * beyond, 0.0)
        return np.where(self.is_crossing(s), slope * beyond, raised)

    def stand(self, s: float, d: float) -> tuple[float, float, float, float]:
        """x, y, the ground's height and the line's heading at one place."""
        x, y, heading = self.at(s, d)
        return float(x), float(y), float(self.hills_m(x, y) + self.raised_m(s, d)), float(heading)

    def ground_m(self, s: ArrayLike, d: ArrayLike) -> Floats:
        """Height of the ground at (s, d)."""
        x, y, _ = self.at(s, d)
        return self.hills_m(x, y) + self.raised_m(s, d)


def make_road(generator: np.random.Generator, kind: StreetKind, length_m: float) -> Road:
    """A street of this kind, `length_m` long."""
    wave_m = generator.uniform(250, 700)
    bend = generator.uniform(0, wave_m / (2 * math.pi * SMOOTHEST_RADIUS_M))
    s = np.arange(0, math.ceil(length_m) + 1.0)
    phase = generator.uniform(0, 2 * math.pi)
    heading = bend * np.sin(2 * math.pi * s / wave_m + phase)
    middle = (heading[1:] + heading[:-1]) / 2
    x, y = (np.concatenate([[0.0], np.cumsum(f(middle))]) for f in (np.cos, np.sin))
    directions, wave_lengths_m = generator.uniform(0, 2 * math.pi, size=4), generator.uniform(60, 220, size=4)
    number = 2 * math.pi / wave_lengths_m
    steepness = generator.uniform(0, 0.014, size=4)
    waves = [steepness / number, number * np.cos(directions), number * np.sin(directions)]
    lanes = int(generator.integers(kind.lanes[0], kind.lanes[1] + 1))
    return Road(
        line=np.stack([s, x, y, heading], axis=1),
        waves=np.stack([*waves, generator.uniform(0, 2 * math.pi, size=4)], axis=1),
        banks=(generator.uniform(-0.04, 0.09), generator.uniform(-0.04, 0.09)),
        lanes=lanes,
        lane_m=generator.uniform(*kind.lane_m),
        has_parking=kind.parking_share[1] > 0,
        sidewalk_m=generator.uniform(*kind.sidewalk_m),
        crossings=_crossings(generator, kind, length_m),
    )


def _crossings(generator: np.random.Generator, kind: StreetKind, length_m: float) -> tuple[Crossing, ...]:
    found = []
    s = generator.uniform(20, kind.crossing_spacing_m[1])
    while s < length_m - 20:
        found.append(Crossing(s_m=s, half_width_m=generator.uniform(1.0, 1.25) * kind.lane_m[0] + 0.5))
        s += generator.uniform(*kind.crossing_spacing_m)
    return tuple(found)


def road_mesh(generator: np.random.Generator, road: Road) -> Mesh:
    """Asphalt, kerbs, sidewalks, the ground beside them, and the lines on the road."""
    stations, is_side_street = _stations(road)
    width, outer = road.half_width_m, road.half_width_m + road.sidewalk_m
    border = [outer + b for b in BORDER_M]
    left = np.array([0.0, width / 2, width, width + 1e-4, outer, *border])
    offsets = np.concatenate([-left[:0:-1], left])
    between = np.abs(offsets[1:] + offsets[:-1]) / 2
    x, y, _ = road.at(stations[:, None], offsets[None])
    height = road.hills_m(x, y) + np.where(is_side_street[:, None], 0, KERB_M) * (np.abs(offsets) > width)
    beyond = np.clip(np.abs(offsets) - outer, 0, 25.0)
    height = height + beyond * np.where(offsets > 0, *road.banks)
    rough = generator.normal(size=height.shape) * 0.05
    height = height + np.where((np.abs(offsets) > outer + 1) & ~is_side_street[:, None], rough, 0)
    grid = np.stack([x, y, height], axis=-1)
    cells = np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], axis=2)
    is_street = np.broadcast_to((is_side_street[1:] & is_side_street[:-1])[:, None], cells.shape[:2])
    bands = [
        (is_street | (between < width), Material.ASPHALT, SemanticClass.ROAD),
        (~is_street & (between > width) & (between < outer), Material.PAVING, SemanticClass.SIDEWALK),
        (~is_street & (between > outer), Material.GRASS, SemanticClass.TERRAIN),
    ]
    ground = [surface(quads(cells[chosen]), material, semantic) for chosen, material, semantic in bands]
    return joined([*ground, _markings(road)])


def _stations(road: Road) -> tuple[Floats, NDArray[np.bool_]]:
    """Where the ground's cross-sections lie, with a double one at each edge of a side street, and which are in one."""
    regular = np.arange(0, road.length_m + STATION_M, STATION_M)
    near = road.is_crossing(regular)
    rows = [(float(s), bool(inside)) for s, inside in zip(regular, near, strict=True)]
    for crossing in road.crossings:
        first, last = crossing.s_m - crossing.half_width_m, crossing.s_m + crossing.half_width_m
        rows += [(first, False), (first + 1e-3, True), (last - 1e-3, True), (last, False)]
    rows.sort()
    return np.array([s for s, _ in rows]), np.array([inside for _, inside in rows])


def _markings(road: Road) -> Mesh:
    """Dashes between lanes, lines along the edge, and zebra stripes before crossings, just above the asphalt."""
    dashes = np.arange(5.0, road.length_m - 5, 9.0)
    lanes = [k * road.lane_m for k in range(-road.lanes + 1, road.lanes)]
    strips = [(s, s + 3.5, d - 0.07, d + 0.07) for d in lanes for s in dashes]
    edge = road.lanes * road.lane_m
    edges = np.arange(0.0, road.length_m - 5, STATION_M)
    strips += [(s, s + STATION_M, d - 0.06, d + 0.06) for d in (edge, -edge) for s in edges]
    for crossing in road.crossings:
        zebra = np.arange(-road.half_width_m + 0.5, road.half_width_m - 0.5, 1.0)
        s = crossing.s_m + crossing.half_width_m + 1.0
        strips += [(s, s + 3.0, d, d + 0.5) for d in zebra]
    table = np.array(strips)
    kept = table[~road.is_crossing(table[:, 0]) & ~road.is_crossing(table[:, 1])]
    x, y, _ = road.at(kept[:, [0, 1, 1, 0]], kept[:, [2, 2, 3, 3]])
    corners = np.stack([x, y, road.hills_m(x, y) + MARKING_LIFT_M], axis=-1)
    return surface(quads(corners), Material.MARKING, SemanticClass.ROAD)
