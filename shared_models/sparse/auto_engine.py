"""Chooses the engine by the device that the data is on."""

from __future__ import annotations

from importlib.util import find_spec

from torch import Tensor

from shared_models.sparse.engine import Plan, SparseEngine
from shared_models.sparse.rulebook_engine import RulebookEngine, RulebookPlan
from shared_models.sparse.sites import ConvolutionSpec, Sites


class AutoEngine(SparseEngine):
    """`spconv` for CUDA tensors where it is installed, else `rulebook`."""

    name = "auto"

    def __init__(self) -> None:
        self._rulebook = RulebookEngine()
        self._spconv: SparseEngine | None = None

    def plan(self, sites: Sites, spec: ConvolutionSpec) -> Plan:
        if sites.coords.device.type != "cuda" or find_spec("spconv") is None:
            return self._rulebook.plan(sites, spec)
        if self._spconv is None:
            from shared_models.sparse.spconv_engine import SpconvEngine

            self._spconv = SpconvEngine()
        return self._spconv.plan(sites, spec)

    def convolve(self, features: Tensor, weight: Tensor, plan: Plan) -> Tensor:
        if isinstance(plan, RulebookPlan) or self._spconv is None:
            return self._rulebook.convolve(features, weight, plan)
        return self._spconv.convolve(features, weight, plan)
