"""Chooses the engine by the device that the data is on."""

from __future__ import annotations

from torch import Tensor

from shared_models.errors import MissingDependencyError
from shared_models.sparse.engine import Plan, SparseEngine
from shared_models.sparse.rulebook_engine import RulebookEngine, RulebookPlan
from shared_models.sparse.sites import ConvolutionSpec, Sites
from shared_models.sparse.spconv_engine import SpconvEngine


class AutoEngine(SparseEngine):
    """`spconv` for CUDA tensors where it is installed, else `rulebook`."""

    name = "auto"

    def __init__(self) -> None:
        self._rulebook = RulebookEngine()
        self._spconv: SpconvEngine | None = None
        self._is_spconv_possible = True

    def plan(self, sites: Sites, spec: ConvolutionSpec) -> Plan:
        engine = self._rulebook if sites.coords.device.type != "cuda" else self._cuda_engine()
        return engine.plan(sites, spec)

    def _cuda_engine(self) -> SparseEngine:
        """spconv where it is installed with CUDA."""
        if self._spconv is None and self._is_spconv_possible:
            try:
                self._spconv = SpconvEngine()
            except MissingDependencyError:
                self._is_spconv_possible = False
        return self._spconv or self._rulebook

    def convolve(self, features: Tensor, weight: Tensor, plan: Plan) -> Tensor:
        if isinstance(plan, RulebookPlan) or self._spconv is None:
            return self._rulebook.convolve(features, weight, plan)
        return self._spconv.convolve(features, weight, plan)
