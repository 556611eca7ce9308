"""Bodies of vehicles: bonnet, cabin with glass and seats, wheels, number plates; not bare boxes.

A body stands on z = 0 around the origin, looks along x, and keeps SLACK_M inside its box on every side, so that range
noise does not carry its points out of the annotated box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared_models.simulation.materials import Material, SemanticClass
from shared_models.simulation.mesh import Corners, Mesh, boxes, joined, loft, quads, surface

SLACK_M: Final = 0.04
INSIDE_WHEELS: Final = 0.975  # width of the hull as a share of the width over the wheels
Size = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Side view of a car; shares of its length from the rear bumper (0) to the front (1), and of its height.

    cabin: where the rear window's foot, the roof's rear and front edge, and the windscreen's foot are.
    belt: height of the lower edge of the windows.
    bonnet, boot: height of the lids at the very front and rear.
    clearance: height of the underbody.
    """

    cabin: tuple[float, float, float, float]
    belt: float
    bonnet: float
    boot: float
    clearance: float = 0.13


BODIES: Final = {
    "hatchback": Body(cabin=(0.015, 0.10, 0.60, 0.78), belt=0.62, bonnet=0.46, boot=0.58),
    "estate": Body(cabin=(0.012, 0.06, 0.62, 0.77), belt=0.61, bonnet=0.45, boot=0.57),
    "saloon": Body(cabin=(0.14, 0.28, 0.58, 0.74), belt=0.63, bonnet=0.47, boot=0.60),
    "offroader": Body(cabin=(0.012, 0.05, 0.62, 0.74), belt=0.63, bonnet=0.53, boot=0.60, clearance=0.16),
    "pickup": Body(cabin=(0.36, 0.39, 0.62, 0.73), belt=0.63, bonnet=0.54, boot=0.58, clearance=0.18),
    "van": Body(cabin=(0.008, 0.02, 0.78, 0.90), belt=0.52, bonnet=0.42, boot=0.50, clearance=0.10),
}


def car_mesh(body: str, size: Size, semantic: SemanticClass = SemanticClass.CAR, has_rear_windows: bool = True) -> Mesh:
    """A car or van of the shape `body` that fits into a box of `size` [length width height], metres."""
    shape = BODIES[body]
    length, width, height = (extent - 2 * SLACK_M for extent in size)
    return joined(
        [
            surface(_hull(shape, length, width, height), Material.PAINT, semantic),
            *_cabin(shape, length, width, height, semantic, has_rear_windows),
            surface(_seats(shape, length, width, height), Material.INTERIOR, semantic),
            surface(_wheels(length, width, min(0.34, 0.22 * height), (-0.31, 0.31)), Material.RUBBER, semantic),
            surface(_plates(length, height), Material.RETROREFLECTOR, semantic),
        ]
    )


def _hull(shape: Body, length: float, width: float, height: float) -> Corners:
    """The body below the windows, as cross-sections from the rear to the front."""
    rear, _, _, front = shape.cabin
    low, belt = shape.clearance * height, shape.belt * height
    boot, bonnet = shape.boot * height, shape.bonnet * height
    stations = [  # share of length, half width, underside, top
        (0.000, 0.86, low + 0.16 * height, boot - 0.10 * height),
        (0.012, 0.94, low + 0.06 * height, boot),
        (max(rear, 0.03), 0.99, low, belt),
        (0.30 + rear / 2, 1.00, low, belt),
        (front, 0.99, low, belt),
        (0.5 * (front + 0.97), 0.97, low, 0.45 * belt + 0.55 * bonnet),
        (0.975, 0.90, low + 0.04 * height, bonnet),
        (1.000, 0.74, low + 0.12 * height, bonnet - 0.12 * height),
    ]
    half = INSIDE_WHEELS * width / 2
    return loft([_section((x - 0.5) * length, w * half, z0, z1) for x, w, z0, z1 in stations])


def _section(x: float, half: float, low: float, high: float) -> list[tuple[float, float, float]]:
    sill, shoulder = low + 0.25 * (high - low), high - 0.14 * (high - low)
    right = [(-0.86 * half, low), (-half, sill), (-0.99 * half, shoulder), (-0.88 * half, high)]
    return [(x, y, z) for y, z in right] + [(x, -y, z) for y, z in reversed(right)]


def _cabin(
    shape: Body, length: float, width: float, height: float, semantic: SemanticClass, has_rear_windows: bool
) -> list[Mesh]:
    """Roof and pillars in paint, windows in glass."""
    x0, x1, x2, x3 = ((share - 0.5) * length for share in shape.cabin)
    belt, roof, half = shape.belt * height, height, INSIDE_WHEELS * width / 2
    foot_y, roof_y = 0.93 * half, 0.76 * half
    crown = roof - 0.03 * height
    outline = [(x0, foot_y, belt), (x1, roof_y, crown), (x2, roof_y, crown), (x3, foot_y, belt)]
    painted: list[Corners] = []
    glazed: list[Corners] = []
    for side in (1, -1):
        low_rear, high_rear, high_front, low_front = (np.array([x, side * y, z]) for x, y, z in outline)
        edges = [0.0, 0.10, 0.48, 0.54, 0.90, 1.0]
        for index, (begin, end) in enumerate(pairwise(edges)):
            strip = [_mix(low_rear, low_front, begin), _mix(low_rear, low_front, end)]
            strip += [_mix(high_rear, high_front, end), _mix(high_rear, high_front, begin)]
            is_glass = index == 3 or (index == 1 and has_rear_windows)
            (glazed if is_glass else painted).append(quads(strip))
    ridge = [(x1, -roof_y, crown), (x2, -roof_y, crown), (x2, 0, roof), (x1, 0, roof)]
    painted += [quads(ridge), quads([(x, -y, z) for x, y, z in ridge])]
    for foot_x, head_x, is_glass in ((x3, x2, True), (x0, x1, has_rear_windows)):
        window = [(foot_x, -foot_y, belt), (foot_x, foot_y, belt), (head_x, roof_y, crown), (head_x, -roof_y, crown)]
        (glazed if is_glass else painted).append(quads(window))
    return [
        surface(np.concatenate(painted), Material.PAINT, semantic),
        surface(np.concatenate(glazed), Material.GLASS, semantic),
    ]


def _mix(a: NDArray[np.float64], b: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    return a * (1 - share) + b * share


def _seats(shape: Body, length: float, width: float, height: float) -> Corners:
    """Backs of the front seats and the rear bench, seen only through glass."""
    _, x1, x2, _ = ((share - 0.5) * length for share in shape.cabin)
    front, bench = x1 + 0.62 * (x2 - x1), x1 + 0.12 * (x2 - x1)
    top, low = 0.86 * height, 0.5 * height
    spans = [(front, -0.36, -0.08), (front, 0.08, 0.36), (bench, -0.38, 0.38)]
    backs = [
        [(x, y0 * width, low), (x, y1 * width, low), (x - 0.12, y1 * width, top), (x - 0.12, y0 * width, top)]
        for x, y0, y1 in spans
    ]
    return quads(backs)


def _wheels(length: float, width: float, radius: float, axles: tuple[float, ...]) -> Corners:
    """Two wheels on each axle; `axles` are shares of the length from the middle."""
    angles = np.arange(9) * (2 * math.pi / 8)
    found = []
    for axle in axles:
        for side in (1, -1):
            rim = np.stack([axle * length + radius * np.cos(angles), radius * (1 + np.sin(angles))], axis=1)
            outer = np.insert(rim, 1, side * width / 2, axis=1)
            inner = np.insert(rim, 1, side * (width / 2 - 0.2), axis=1)
            hub = np.broadcast_to([axle * length, side * width / 2, radius], outer[:-1].shape)
            tread = quads(np.stack([outer[:-1], outer[1:], inner[1:], inner[:-1]], axis=1))
            found += [np.stack([hub, outer[:-1], outer[1:]], axis=1).astype(np.float32), tread]
    return np.concatenate(found)


def _plates(length: float, height: float) -> Corners:
    """Number plates, 52 x 11 cm, at both ends."""
    z = 0.36 * height
    faces = [
        [(x, -0.26, z), (x, 0.26, z), (x, 0.26, z + 0.11), (x, -0.26, z + 0.11)]
        for x in (-length / 2 - 0.004, length / 2 + 0.004)
    ]
    return quads(faces)


def truck_mesh(size: Size, semantic: SemanticClass = SemanticClass.TRUCK) -> Mesh:
    """A lorry: cab with windscreen, a gap, a box body, chassis and wheels, in a box of `size`."""
    length, width, height = (extent - 2 * SLACK_M for extent in size)
    nose, cab_m, bed = length / 2, min(2.2, 0.3 * length), 0.30 * height
    body_m = length - cab_m - 0.5
    painted = boxes(
        [
            (nose - cab_m / 2, 0, 0.16 * height + 0.20 * height),
            (nose - cab_m + 0.15, 0, 0.66 * height),
            (nose - cab_m / 2 - 0.05, 0, 0.83 * height),
        ],
        [(cab_m, width * 0.96, 0.40 * height), (0.3, width * 0.96, 0.40 * height), (cab_m - 0.3, width * 0.9, 0.03)],
    )
    load = boxes([(-length / 2 + body_m / 2, 0, (bed + height) / 2)], [(body_m, width, height - bed)])
    chassis = boxes([(-0.25, 0, 0.25 * height)], [(length - 0.6, 0.4 * width, 0.1 * height)])
    x, y, low, high = nose - 0.03, width * 0.46, 0.56 * height, 0.83 * height
    front = [(x, -y, low), (x, y, low), (x - 0.25, y, high), (x - 0.25, -y, high)]
    sides = [
        [(x, s * y, low), (nose - cab_m + 0.3, s * y, low), (nose - cab_m + 0.3, s * y, high), (x - 0.25, s * y, high)]
        for s in (1, -1)
    ]
    axles = (0.5 - 0.45 * cab_m / length, -0.28, -0.38) if length > 8 else (0.5 - 0.45 * cab_m / length, -0.32)
    return joined(
        [
            surface(np.concatenate([painted, load]), Material.PAINT, semantic),
            surface(chassis, Material.METAL, semantic),
            surface(quads([front, *sides]), Material.GLASS, semantic),
            surface(_wheels(length, width * 0.98, 0.48, axles), Material.RUBBER, semantic),
            surface(_plates(length, height * 0.5), Material.RETROREFLECTOR, semantic),
        ]
    )
