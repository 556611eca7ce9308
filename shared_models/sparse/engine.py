"""The interface of sparse convolution engines.

A plan holds what depends on the active sites alone (which input feeds which output through which kernel offset), so
that layers over the same sites share it. A convolution is then a function of features, weight and plan.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.sparse.sites import ConvolutionSpec, Sites


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(ABC):
    """What an engine knows about one convolution before it sees features."""

    spec: ConvolutionSpec
    inputs: Sites
    outputs: Sites


class SparseEngine(ABC):
    """Computes sparse 3D convolutions."""

    name: ClassVar[str]

    @abstractmethod
    def plan(self, sites: Sites, spec: ConvolutionSpec) -> Plan:
        """Work out output sites and index pairs of `spec` over `sites`."""

    @abstractmethod
    def convolve(self, features: Tensor, weight: Tensor, plan: Plan) -> Tensor:
        """Sum of neighbour features times kernel slices; without bias.

        Args:
            features: (V_in, C_in) floating point, rows as in `plan.inputs`.
            weight: (C_out, kD, kH, kW, C_in), OpenPCDet's (spconv 2's) layout.
            plan: from this engine's `plan`.

        Returns:
            (V_out, C_out), rows as in `plan.outputs`.
        """


def check_convolution(features: Tensor, weight: Tensor, plan: Plan) -> None:
    """Shapes agree before any index is used: an engine must not read past its arrays.

    Raises:
        InvalidValueError: rows, channels or kernel do not match the plan.
    """
    if features.dim() != 2 or features.shape[0] != len(plan.inputs):
        raise InvalidValueError(
            f"sparse convolution: expected features ({len(plan.inputs)}, C), got {tuple(features.shape)}"
        )
    expected = (*plan.spec.kernel, features.shape[1])
    if weight.dim() != 5 or tuple(weight.shape[1:]) != expected:
        raise InvalidValueError(
            f"sparse convolution: expected weight (C_out, {', '.join(map(str, expected))}), got {tuple(weight.shape)}"
        )
