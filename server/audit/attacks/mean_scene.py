"""The same guess for every payload: where the attacker's own scans usually have points. A floor for the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from server.audit.attack import Reconstruction, ReconstructionAttack, Workbench
from server.audit.threat import Ability, AttackerView
from shared_models.errors import InvalidValueError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanSceneConfig:
    """voxel_m: side of the cubes that are counted, metres."""

    voxel_m: float = 0.2

    def __post_init__(self) -> None:
        check.number("MeanSceneConfig", "voxel_m", self.voxel_m, 0.01, 10)


@final
class MeanScene(ReconstructionAttack):
    """The cubes that most of the attacker's scans have points in, as many as a scan has on average."""

    name = "mean_scene"
    needs = frozenset({Ability.PAIRED})
    config_class = MeanSceneConfig
    config: MeanSceneConfig
    _points: NDArray[np.float32] | None = None

    def prepare(self, view: AttackerView, bench: Workbench) -> None:
        own = view.own_scenes()
        if not own:
            raise InvalidValueError("mean_scene: expected at least one scene of the attacker's own, got none")
        cells, means = [], []
        for number, scene in enumerate(own):
            each, mean = _voxel_means(scene.points[:, :3].astype(np.float64), self.config.voxel_m)
            cells.append(each)
            means.append(mean)
            bench.progress(number + 1, len(own))
        self._points = _most_frequent(np.concatenate(cells), np.concatenate(means), len(own))

    def reconstruct(self, payload: bytes) -> Reconstruction:
        if self._points is None:
            raise InvalidValueError("mean_scene: prepare it before it reconstructs")
        return Reconstruction(points=self._points)


def _voxel_means(points: NDArray[np.float64], size_m: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(V, 3) occupied cubes of one scan, counted from the origin, and (V, 3) the mean of the points in each."""
    cells, rows, counts = np.unique(
        np.floor(points / size_m).astype(np.int64), axis=0, return_inverse=True, return_counts=True
    )
    sums = np.zeros((len(cells), 3))
    np.add.at(sums, rows.ravel(), points)
    return cells, sums / counts[:, None]


def _most_frequent(cells: NDArray[np.int64], means: NDArray[np.float64], scenes: int) -> NDArray[np.float32]:
    """(K, 3) float32: mean points of the K most frequent cubes, K the mean number of cubes of a scan."""
    unique, rows, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    sums = np.zeros((len(unique), 3))
    np.add.at(sums, rows.ravel(), means)
    chosen = np.argsort(-counts, kind="stable")[: round(len(cells) / scenes)]
    return (sums[chosen] / counts[chosen, None]).astype(np.float32)
