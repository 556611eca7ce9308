"""Place recognition: a picture of the active cells around the vehicle, compared with those of other drives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
from numpy.typing import NDArray

from server.audit.attack import RetrievalAttack, Workbench
from server.audit.networks.payload_reader import PayloadReader
from server.audit.polar import PolarConfig, polar_picture
from server.audit.threat import Ability, AttackerView
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.errors import InvalidValueError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class PolarMapConfig:
    """The picture, and what is learned where the attacker has scans of his own.

    picture: rings and sectors.
    uses_features: whether the length of each cell's feature vector counts beside where cells are active, and how high.
    dimensions: principal components of the pictures of own scans that are kept, each brought to the same spread; at
        most one less than those scans. 0 compares the pictures as they are, and needs no scan.
    """

    picture: PolarConfig = field(default_factory=PolarConfig)
    uses_features: bool = True
    dimensions: int = 0

    def __post_init__(self) -> None:
        check.count("PolarMapConfig", "dimensions", self.dimensions, 10**5, 0)


@final
class PolarMap(RetrievalAttack):
    """Made by hand; needs nothing but payloads, unless the pictures are whitened."""

    name = "polar_map"
    may_use = frozenset({Ability.PAIRED})
    config_class = PolarMapConfig
    config: PolarMapConfig
    _geometry: CutGeometry | None = None
    _reader: PayloadReader | None = None
    _mean: NDArray[np.float64] | None = None
    _axes: NDArray[np.float64] | None = None

    def required(self) -> frozenset[Ability]:
        return frozenset({Ability.PAIRED}) if self.config.dimensions else frozenset()

    def prepare(self, view: AttackerView, bench: Workbench) -> None:
        self._mean = self._axes = None
        self._geometry = view.geometry
        payloads = [scene.payload for scene in view.own_scenes()] if self.config.dimensions else list(view.payloads)
        self._reader = PayloadReader.for_layer(payloads, view.geometry.split_layer, self.name)
        if not self.config.dimensions:
            return
        pictures = []
        for number, payload in enumerate(payloads):
            pictures.append(self._picture(payload))
            bench.progress(number + 1, len(payloads))
        self._mean, self._axes = whitening(np.stack(pictures).astype(np.float64), self.config.dimensions)

    def describe(self, payload: bytes) -> NDArray[np.float32]:
        picture = self._picture(payload)
        if self._mean is None or self._axes is None:
            return picture
        turned = (picture - self._mean) @ self._axes
        return (turned / max(float(np.linalg.norm(turned)), 1e-12)).astype(np.float32)

    def _picture(self, payload: bytes) -> NDArray[np.float32]:
        if self._reader is None or self._geometry is None:
            raise InvalidValueError("polar_map: prepare it before it describes")
        grid = self._reader.read(payload)
        coords = grid.coords.numpy().astype(np.int64)
        channels = [np.ones(len(coords)), coords[:, 0] + 1.0]
        if self.config.uses_features:
            channels.append(np.linalg.norm(grid.features.numpy().astype(np.float64), axis=1))
        return polar_picture(self._geometry.centres_m(coords), np.stack(channels, 1), self.config.picture)


def whitening(rows: NDArray[np.float64], most: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(D,) mean and (D, K) axes that bring K principal components of rows (S, D) to variance 1.

    Raises:
        InvalidValueError: fewer than three rows, or all alike.
    """
    if len(rows) < 3:
        raise InvalidValueError(f"polar_map: whitening needs at least 3 scans of the attacker's own, got {len(rows)}")
    mean = rows.mean(0)
    _, spread, axes = np.linalg.svd(rows - mean, full_matrices=False)
    kept = min(most, int((spread > 1e-6 * max(spread[0], 1e-12)).sum()), len(rows) - 1)
    if spread[0] <= 1e-12 or kept < 1:
        raise InvalidValueError("polar_map: the attacker's own scans give equal pictures; give other scans")
    return mean, axes[:kept].T * (np.sqrt(len(rows) - 1) / spread[:kept])
