"""Pedestrians and cyclists with limbs that move.

A person stands on z = 0, looks along x, and keeps within its box. Each triangle may swing: it turns about the y axis
around a pivot by `amplitude * sin(phase + offset)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared_models.simulation.materials import Material, SemanticClass
from shared_models.simulation.mesh import Corners, Mesh, joined, surface, tube
from shared_models.simulation.vehicle_shapes import SLACK_M, Size

STRIDE_M: Final = 1.4  # two steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Swinging:
    """A mesh whose triangles swing.

    swing: (T, 4) float32 [pivot x, pivot z, amplitude in radians, offset of the phase in radians].
    """

    mesh: Mesh
    swing: NDArray[np.float32]


def rigid(mesh: Mesh) -> Swinging:
    """A mesh of which nothing swings."""
    return Swinging(mesh=mesh, swing=np.zeros((len(mesh), 4), dtype=np.float32))


def lifted(body: Swinging, height_m: float) -> Swinging:
    """The same body, `height_m` higher."""
    up = np.array([0, 0, height_m], dtype=np.float32)
    pivots = np.array([0, height_m, 0, 0], dtype=np.float32)
    return Swinging(mesh=replace(body.mesh, corners=body.mesh.corners + up), swing=body.swing + pivots)


def swung(corners: Corners, swing: NDArray[np.float32], phase_rad: NDArray[np.float64]) -> Corners:
    """The triangles at this moment; `phase_rad` is (T,)."""
    angle = (swing[:, 2] * np.sin(phase_rad + swing[:, 3]))[:, None]
    cosine, sine = np.cos(angle), np.sin(angle)
    x, z = corners[..., 0] - swing[:, :1], corners[..., 2] - swing[:, 1:2]
    turned = [swing[:, :1] + x * cosine + z * sine, corners[..., 1], swing[:, 1:2] + z * cosine - x * sine]
    return np.stack(turned, axis=-1).astype(np.float32)


def _part(
    corners: Corners, material: Material, semantic: SemanticClass, swing: tuple[float, ...] = (0, 0, 0, 0)
) -> Swinging:
    mesh = surface(corners, material, semantic)
    return Swinging(mesh=mesh, swing=np.tile(np.array(swing, dtype=np.float32), (len(mesh), 1)))


def _joined(parts: list[Swinging]) -> Swinging:
    return Swinging(mesh=joined([p.mesh for p in parts]), swing=np.concatenate([p.swing for p in parts]))


def pedestrian(size: Size, is_walking: bool) -> Swinging:
    """A walking or standing person in a box of `size` [length width height]; walking swings arms and legs."""
    length, width, height = (extent - 2 * SLACK_M for extent in size)
    kind = SemanticClass.PEDESTRIAN
    hip, shoulder, neck = 0.50 * height, 0.80 * height, 0.85 * height
    reach = max((length / 2 - 0.17) / hip, 0.02)
    leg_swing = math.asin(min(reach, 0.5)) if is_walking else 0.0
    half = width / 2
    parts = [
        _part(tube((0, 0, hip - 0.05), (0, 0, neck), 0.115, 0.15, 7), Material.CLOTH, kind),
        _part(tube((0, 0, neck), (0.01, 0, height), 0.075, 0.075, 6), Material.SKIN, kind),
    ]
    for side in (1, -1):
        offset = 0.0 if side > 0 else math.pi
        leg = tube((0, side * 0.10, hip), (0, side * 0.10, 0.06), 0.085, 0.05)
        foot = tube((-0.06, side * 0.10, 0.055), (0.12, side * 0.10, 0.055), 0.04, 0.035)
        swing = (0.0, hip, leg_swing, offset)
        parts += [_part(leg, Material.CLOTH, kind, swing), _part(foot, Material.RUBBER, kind, swing)]
        arm = tube((0, side * 0.19, shoulder), (0.05, side * (half - 0.05), 0.45 * height), 0.05, 0.035)
        parts.append(_part(arm, Material.CLOTH, kind, (0.0, shoulder, 0.8 * leg_swing, offset + math.pi)))
    return _joined(parts)


def cyclist(size: Size) -> Swinging:
    """A person on a bicycle in a box of `size`; the legs pedal."""
    length, width, height = (extent - 2 * SLACK_M for extent in size)
    kind = SemanticClass.CYCLIST
    radius = 0.19 * length
    rear, front = -length / 2 + radius, length / 2 - radius
    saddle, bar, bottom = (-0.18, 0.0, 0.92), (front - 0.16, 0.0, 1.02), (-0.05, 0.0, 0.28)
    frame = [
        (saddle, bottom),
        (bottom, (rear, 0, radius)),
        (saddle, (rear, 0, radius)),
        (bottom, bar),
        (bar, (front, 0, radius)),
    ]
    parts = [_part(tube(a, b, 0.025, 0.025, 5), Material.METAL, kind) for a, b in frame]
    parts.append(_part(tube((bar[0], -0.27, 1.05), (bar[0], 0.27, 1.05), 0.02, 0.02, 5), Material.METAL, kind))
    parts += [_part(_ring(x, radius), Material.RUBBER, kind) for x in (rear, front)]
    neck, chest = 0.86 * height, 0.80 * height
    parts.append(_part(tube((-0.20, 0, 0.95), (0.10, 0, neck), 0.13, 0.16, 7), Material.CLOTH, kind))
    parts.append(_part(tube((0.14, 0, neck), (0.17, 0, height), 0.08, 0.08), Material.SKIN, kind))
    half = min(width / 2 - 0.05, 0.26)
    for side in (1, -1):
        offset = 0.0 if side > 0 else math.pi
        knee, pedal = (0.18, side * 0.12, 0.68), (0.02, side * 0.12, 0.25)
        swing = (-0.18, 0.95, 0.22, offset)
        parts.append(_part(tube((-0.18, side * 0.10, 0.95), knee, 0.08, 0.06), Material.CLOTH, kind, swing))
        parts.append(_part(tube(knee, pedal, 0.06, 0.045), Material.CLOTH, kind, swing))
        hand = (bar[0], side * half, 1.06)
        parts.append(_part(tube((0.08, side * 0.18, chest), hand, 0.045, 0.035), Material.CLOTH, kind))
    return _joined(parts)


def _ring(x: float, radius: float) -> Corners:
    """The tyre of a wheel, through whose spokes rays pass."""
    angles = np.arange(13) * (2 * math.pi / 12)
    points = [(x + radius * 0.96 * math.cos(a), 0.0, radius + radius * 0.96 * math.sin(a)) for a in angles]
    return np.concatenate([tube(a, b, 0.025, 0.025, 3) for a, b in pairwise(points)])
