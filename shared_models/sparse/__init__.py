"""Sparse 3D convolution: one interface, interchangeable engines."""

from __future__ import annotations

from shared_models.sparse.engine import SparseEngine
from shared_models.sparse.sites import ConvolutionSpec, Sites
from shared_models.table import load

ENGINES = {
    "rulebook": "shared_models.sparse.rulebook_engine:RulebookEngine",
    "spconv": "shared_models.sparse.spconv_engine:SpconvEngine",
    "auto": "shared_models.sparse.auto_engine:AutoEngine",
}


def create_engine(name: str = "auto") -> SparseEngine:
    """The engine of that name.

    Raises:
        UnknownNameError: no such engine.
        MissingDependencyError: its library is not installed.
    """
    engine: SparseEngine = load(ENGINES, "sparse engine", name)()
    return engine


__all__ = ["ENGINES", "ConvolutionSpec", "Sites", "SparseEngine", "create_engine"]
