"""Triangles and the simple bodies that the world is put together from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared_models.records import check
from shared_models.simulation.materials import Material, SemanticClass

Corners = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """T triangles that know what they are.

    corners: (T, 3, 3) float32, metres.
    material, semantic: (T,) uint8, members of `Material` and `SemanticClass`.
    instance: (T,) int32, the object's track id, 0 for what is no object.
    """

    corners: Corners
    material: NDArray[np.uint8]
    semantic: NDArray[np.uint8]
    instance: NDArray[np.int32]

    def __post_init__(self) -> None:
        count = len(self.corners)
        check.shape("Mesh", "corners", self.corners, (count, 3, 3))
        for field in ("material", "semantic", "instance"):
            check.shape("Mesh", field, getattr(self, field), (count,))

    def __len__(self) -> int:
        return len(self.corners)

    def placed(self, pose: NDArray[np.float64]) -> Mesh:
        """The same mesh, moved by the (4, 4) `pose`."""
        moved = self.corners @ pose[:3, :3].T.astype(np.float32) + pose[:3, 3].astype(np.float32)
        return replace(self, corners=moved)

    def of_instance(self, instance: int) -> Mesh:
        """The same mesh as (part of) the object with this track id."""
        return replace(self, instance=np.full(len(self), instance, dtype=np.int32))


def surface(corners: ArrayLike, material: Material, semantic: SemanticClass) -> Mesh:
    """(T, 3, 3) `corners`, all of one material and class."""
    array = np.asarray(corners, dtype=np.float32).reshape(-1, 3, 3)
    return Mesh(
        corners=array,
        material=np.full(len(array), material, dtype=np.uint8),
        semantic=np.full(len(array), semantic, dtype=np.uint8),
        instance=np.zeros(len(array), dtype=np.int32),
    )


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """All triangles in the order given."""
    if not meshes:
        return surface(np.empty((0, 3, 3)), Material.ASPHALT, SemanticClass.NOISE)
    return Mesh(
        corners=np.concatenate([m.corners for m in meshes]),
        material=np.concatenate([m.material for m in meshes]),
        semantic=np.concatenate([m.semantic for m in meshes]),
        instance=np.concatenate([m.instance for m in meshes]),
    )


def spans(mesh: Mesh) -> dict[int, tuple[int, int]]:
    """Track id -> first and one past the last triangle; an object's triangles lie together in `mesh`."""
    changes = np.flatnonzero(np.diff(mesh.instance)) + 1
    begins = np.concatenate([[0], changes]).tolist()
    ends = np.concatenate([changes, [len(mesh)]]).tolist()
    return {int(mesh.instance[b]): (b, e) for b, e in zip(begins, ends, strict=True) if e > b}


def quads(corners: ArrayLike) -> Corners:
    """(2Q, 3, 3) triangles of (Q, 4, 3) quadrilaterals, whose corners go around."""
    array = np.asarray(corners, dtype=np.float32).reshape(-1, 4, 3)
    return np.stack([array[:, [0, 1, 2]], array[:, [0, 2, 3]]], axis=1).reshape(-1, 3, 3)


BOX_FACES = np.array([[0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [2, 3, 7, 6], [0, 2, 6, 4], [1, 3, 7, 5]])
BOX_SIGNS = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


def boxes(centres: ArrayLike, sizes: ArrayLike) -> Corners:
    """(12 B, 3, 3) triangles of B axis-aligned boxes with (B, 3) centres and (B, 3) sizes."""
    middle, size = np.reshape(centres, (-1, 1, 3)), np.reshape(sizes, (-1, 1, 3))
    corners = middle + BOX_SIGNS * size
    return quads(corners[:, BOX_FACES])


def tube(start: ArrayLike, end: ArrayLike, start_radius_m: float, end_radius_m: float, sides: int = 6) -> Corners:
    """(3 or 4 x sides, 3, 3) triangles of a closed, tapered tube between two points."""
    foot, head = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    axis = (head - foot) / max(float(np.linalg.norm(head - foot)), 1e-9)
    x, y, z = axis.tolist()
    aside = np.array([0.0, z, -y] if abs(x) < 0.9 else [-z, 0.0, x])  # axis cross x or y
    aside /= math.sqrt(float(aside @ aside))
    a, b, c = aside.tolist()
    across = np.array([y * c - z * b, z * a - x * c, x * b - y * a])
    angles = np.arange(sides + 1) * (2 * math.pi / sides)
    circle = np.cos(angles)[:, None] * aside + np.sin(angles)[:, None] * across
    low, high = foot + start_radius_m * circle, head + end_radius_m * circle
    wall = quads(np.stack([low[:-1], low[1:], high[1:], high[:-1]], axis=1))
    caps = [_fan(foot, low), _fan(head, high)]
    return np.concatenate([wall, *caps])


def _fan(centre: NDArray[np.float64], rim: NDArray[np.float64]) -> Corners:
    middle = np.broadcast_to(centre, rim[:-1].shape)
    return np.stack([middle, rim[:-1], rim[1:]], axis=1).astype(np.float32)


def loft(sections: ArrayLike) -> Corners:
    """Triangles of a closed hull through (S, K, 3) cross-sections of K corners each."""
    rings = np.asarray(sections, dtype=np.float64)
    after = np.roll(rings, -1, axis=1)
    skin = quads(np.stack([rings[:-1], after[:-1], after[1:], rings[1:]], axis=2))
    ends = [_fan(ring.mean(axis=0), np.concatenate([ring, ring[:1]])) for ring in (rings[0], rings[-1])]
    return np.concatenate([skin, *ends])


def scatter(
    generator: np.random.Generator, count: int, centre: ArrayLike, radii: ArrayLike, edge_m: float, shell: float = 0.5
) -> Corners:
    """`count` small triangles at random in an ellipsoid, most of them near its surface: leaves.

    edge_m: typical length of a triangle's edges.
    shell: inner radius of the filled part, as a share of the outer.
    """
    directions = generator.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    depth = generator.uniform(shell**3, 1, size=(count, 1)) ** (1 / 3)
    middles = np.asarray(centre) + directions * depth * np.asarray(radii)
    around = generator.normal(size=(count, 3, 3)) * (edge_m / 2.4)
    leaves: Corners = (middles[:, None] + around).astype(np.float32)
    return leaves


def pose(x: float, y: float, z: float, yaw_rad: float, pitch_rad: float = 0.0) -> NDArray[np.float64]:
    """(4, 4) pose of a body that is turned to the left by yaw after its nose was raised by pitch."""
    cos_yaw, sin_yaw, cos_pitch, sin_pitch = (
        math.cos(yaw_rad),
        math.sin(yaw_rad),
        math.cos(pitch_rad),
        math.sin(pitch_rad),
    )
    return np.array(
        [
            [cos_yaw * cos_pitch, -sin_yaw, -cos_yaw * sin_pitch, x],
            [sin_yaw * cos_pitch, cos_yaw, -sin_yaw * sin_pitch, y],
            [sin_pitch, 0, cos_pitch, z],
            [0, 0, 0, 1],
        ]
    )
