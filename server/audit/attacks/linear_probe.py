"""Properties: logistic regression on statistics of a scene's features, learned from scans of the attacker's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from server.audit.attack import PropertyAttack, Workbench
from server.audit.networks.payload_reader import PayloadReader
from server.audit.pooled_statistics import StatisticsConfig, grid_statistics
from server.audit.probe import Probe, fit_probe
from server.audit.threat import Ability, AttackerView
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.errors import InvalidValueError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearProbeConfig:
    """What is learned.

    statistics: of a scene. ridge: weight of the squared weights in the loss, against learning single scenes by heart.
    """

    statistics: StatisticsConfig = StatisticsConfig()
    ridge: float = 0.1

    def __post_init__(self) -> None:
        check.number("LinearProbeConfig", "ridge", self.ridge, 1e-9, 1e6)


@final
class LinearProbe(PropertyAttack):
    """Needs scans with known properties, and nothing of the backbone."""

    name = "linear_probe"
    needs = frozenset({Ability.PAIRED})
    config_class = LinearProbeConfig
    config: LinearProbeConfig
    _geometry: CutGeometry | None = None
    _reader: PayloadReader | None = None
    _probe: Probe | None = None

    def prepare(self, view: AttackerView, bench: Workbench) -> None:
        own = view.own_scenes()
        self._geometry = view.geometry
        self._reader = PayloadReader.for_layer([s.payload for s in own], view.geometry.split_layer, self.name)
        rows = []
        for number, scene in enumerate(own):
            rows.append(self._row(scene.payload))
            bench.progress(number + 1, len(own))
        values = [scene.properties.get(self.property_name, "") for scene in own]
        if "" in values:
            raise InvalidValueError(
                f"linear_probe: own scene {values.index('')} does not say its {self.property_name or 'property'!r}"
            )
        self._probe = fit_probe(np.stack(rows), values, self.config.ridge)

    def predict(self, payload: bytes) -> str:
        if self._probe is None:
            raise InvalidValueError("linear_probe: prepare it before it predicts")
        return self._probe.predict(self._row(payload))

    def _row(self, payload: bytes) -> NDArray[np.float64]:
        if self._reader is None or self._geometry is None:
            raise InvalidValueError("linear_probe: prepare it before it predicts")
        return grid_statistics(self._reader.read(payload), self._geometry, self.config.statistics)
