"""Ray casting by Intel Embree, behind one small class.

Embree finds the nearest triangle; ranges are then a pure function of ray and triangle, whatever the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared_models.errors import MissingDependencyError
from shared_models.simulation.mesh import Mesh

Vectors = NDArray[np.float32]


@dataclass(slots=True, kw_only=True)
class Hits:
    """What N rays met first.

    distance_m: (N,) float32, inf where nothing was met.
    cosine: (N,) float32 of the angle between ray and surface normal, 0 grazing to 1 perpendicular.
    normal: (N, 3) float32 unit normals, turned towards the ray's origin.
    material, semantic: (N,) uint8. instance: (N,) int32.
    """

    distance_m: NDArray[np.float32]
    cosine: NDArray[np.float32]
    normal: Vectors
    material: NDArray[np.uint8]
    semantic: NDArray[np.uint8]
    instance: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.distance_m)

    def at(self, chosen: NDArray[Any]) -> Hits:
        """The hits of some of the rays."""
        return Hits(**{name: getattr(self, name)[chosen] for name in Hits.__slots__})

    def put(self, chosen: NDArray[Any], other: Hits) -> None:
        """Replace the hits of some of the rays."""
        for name in Hits.__slots__:
            getattr(self, name)[chosen] = getattr(other, name)


class RayScene:
    """A mesh that rays can be cast at; building costs about a millisecond per thousand triangles."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._scene = _build(mesh) if len(mesh) else None

    def cast(self, origins: Vectors, directions: Vectors) -> Hits:
        """The first hit of each ray.

        origins, directions: (N, 3) float32, metres; directions of unit length.
        """
        count = len(origins)
        hits = Hits(
            distance_m=np.full(count, np.inf, dtype=np.float32),
            cosine=np.zeros(count, dtype=np.float32),
            normal=np.zeros((count, 3), dtype=np.float32),
            material=np.zeros(count, dtype=np.uint8),
            semantic=np.zeros(count, dtype=np.uint8),
            instance=np.zeros(count, dtype=np.int32),
        )
        if self._scene is None or not count:
            return hits
        found = self._scene.run(np.ascontiguousarray(origins), np.ascontiguousarray(directions), output=True)
        rays = np.flatnonzero(found["primID"] >= 0)
        triangles = found["primID"][rays]
        normals = found["Ng"][rays]
        normals = normals / np.maximum(np.sqrt((normals * normals).sum(axis=1, keepdims=True)), 1e-20)
        along = (normals * directions[rays]).sum(axis=1, keepdims=True)
        hits.distance_m[rays] = found["tfar"][rays]
        hits.cosine[rays] = np.abs(along[:, 0])
        hits.normal[rays] = np.where(along > 0, -normals, normals)
        hits.material[rays] = self.mesh.material[triangles]
        hits.semantic[rays] = self.mesh.semantic[triangles]
        hits.instance[rays] = self.mesh.instance[triangles]
        return hits

    def is_blocked(self, origins: Vectors, directions: Vectors) -> NDArray[np.bool_]:
        """(N,) whether each ray meets anything at all."""
        if self._scene is None or not len(origins):
            return np.zeros(len(origins), dtype=np.bool_)
        found = self._scene.run(np.ascontiguousarray(origins), np.ascontiguousarray(directions), query="OCCLUDED")
        blocked: NDArray[np.bool_] = np.asarray(found) == 0
        return blocked


def cast_at(scenes: tuple[RayScene, ...], origins: Vectors, directions: Vectors) -> Hits:
    """The first hit of each ray in any of the scenes."""
    nearest, *others = [scene.cast(origins, directions) for scene in scenes]
    for hits in others:
        nearer = np.flatnonzero(hits.distance_m < nearest.distance_m)
        nearest.put(nearer, hits.at(nearer))
    return nearest


@cache
def _embree() -> tuple[Any, Any, Any]:
    """Embree's device (one a process), scene class and mesh class."""
    try:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore import EmbreeDevice
        from embreex.rtcore_scene import EmbreeScene
    except ImportError as error:
        raise MissingDependencyError(
            "the simulator casts its rays with embreex, which is not installed; install upcycle-fleet[sim]"
        ) from error
    return EmbreeDevice(), EmbreeScene, TriangleMesh


def _build(mesh: Mesh) -> Any:
    device, scene_class, mesh_class = _embree()
    scene = scene_class(device, robust=True)
    mesh_class(scene, np.ascontiguousarray(mesh.corners, dtype=np.float32))
    return scene
