"""Sparse convolution layers as modules: the engine and the plan come from outside."""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from shared_models.sparse.engine import Plan, SparseEngine
from shared_models.sparse.sites import ConvolutionSpec

# Of a kernel's cells, those that are active in a driving scan: 16 to 55 % in the stages of a KITTI frame.
ACTIVE_SHARE = 0.4


class SparseConvolution(nn.Module):
    """A sparse 3D convolution without bias.

    Its one parameter, `weight` (C_out, kD, kH, kW, C_in), has OpenPCDet's name and layout.
    """

    def __init__(self, in_channels: int, out_channels: int, spec: ConvolutionSpec) -> None:
        super().__init__()
        self.spec = spec
        self.weight = nn.Parameter(torch.empty(out_channels, *spec.kernel, in_channels))
        # He et al., ICCV 2015, equation 10, with the neighbours that are there instead of the kernel's volume.
        active = max(1.0, spec.volume * ACTIVE_SHARE)
        nn.init.normal_(self.weight, std=sqrt(2.0 / (in_channels * active)))

    def forward(self, features: Tensor, plan: Plan, engine: SparseEngine) -> Tensor:
        """(V_out, C_out) from (V_in, C_in)."""
        if len(features) == 0:  # not every engine has a backward pass for no rows; the weights get gradients of zero
            return features @ self.weight[:, 0, 0, 0].t()
        return engine.convolve(features, self.weight, plan)


def is_norm_shared(module: nn.Module) -> bool:
    """Whether `module` is, or holds, a batch norm whose moments come from several processes."""
    return any(getattr(part, "is_shared", False) for part in module.modules())


class SparseBlock(nn.Sequential):
    """Convolution, batch norm, ReLU; children are numbered as in OpenPCDet (0 convolution, 1 batch norm)."""

    def __init__(self, in_channels: int, out_channels: int, spec: ConvolutionSpec) -> None:
        super().__init__(
            SparseConvolution(in_channels, out_channels, spec),
            nn.BatchNorm1d(out_channels, eps=1e-3, momentum=0.01),
        )

    def forward(self, features: Tensor, plan: Plan, engine: SparseEngine) -> Tensor:  # type: ignore[override]
        """(V_out, C_out) from (V_in, C_in); no row and a single row are valid, also in training mode."""
        features = self[0](features, plan, engine)
        norm: Any = self[1]  # a batch norm, or one over several processes
        # A norm over several processes must be called by all of them, however few rows this one has.
        is_alone = not is_norm_shared(norm)
        if is_alone and len(features) == 0:
            return features
        if is_alone and self.training and len(features) == 1:  # one row has no variance: use what was learned so far
            normalised = batch_norm(features, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        else:
            normalised = norm(features)
        return normalised.relu_() if not normalised.requires_grad else normalised.relu()

    @property
    def spec(self) -> ConvolutionSpec:
        """Geometry of the block's convolution."""
        convolution = self[0]
        assert isinstance(convolution, SparseConvolution)
        return convolution.spec
