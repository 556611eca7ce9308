"""The 3D backbone up to a layer, with a gate on every voxel: what would change if the voxel were not there?

Which cells are active is decided before any number is, so no gradient reaches it. A gate of 1 changes nothing; the
gradient at it says what the voxel's own features at conv1 contribute further on, to first order.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from shared_models.backbones.cut_geometry import LAYERS
from shared_models.backbones.second import SecondBackbone
from shared_models.sparse.layers import SparseBlock
from shared_models.sparse.sites import row_major_keys
from shared_models.sparse.tensor import SparseFeatures

_STAGES: Final = ("conv2", "conv3", "conv4")


def run_gated(backbone: SecondBackbone, voxels: SparseFeatures, gates: Tensor, layer: str) -> SparseFeatures:
    """Features of `layer` ("conv1" to "conv4" or "conv_out") of voxels (V, 4) under gates (V,)."""
    cells = voxels
    for block in (backbone.conv_input, *backbone.conv1):
        cells = _run(block, cells, backbone)
    cells = SparseFeatures(sites=cells.sites, features=cells.features * gates[:, None])
    for stage in _STAGES:
        if LAYERS.index(layer) < LAYERS.index(stage):
            return cells
        blocks: nn.ModuleList = getattr(backbone, stage)
        for block in blocks:
            cells = _run(block, cells, backbone)
    return _run(backbone.conv_out, cells, backbone) if layer == "conv_out" else cells


def _run(block: nn.Module, cells: SparseFeatures, backbone: SecondBackbone) -> SparseFeatures:
    assert isinstance(block, SparseBlock)
    plan = backbone.engine.plan(cells.sites, block.spec)
    return SparseFeatures(sites=plan.outputs, features=block(cells.features, plan, backbone.engine))


def mismatch(found: SparseFeatures, target: SparseFeatures) -> Tensor:
    """Squared difference of two sparse maps, over all cells of both, relative to the squares of `target`.

    1 for an empty `found`; 0 where both are the same.
    """
    total = target.features.square().sum().clamp(min=1e-12)
    keys, wanted = (row_major_keys(cells.sites.coords, cells.sites.shape) for cells in (found, target))
    if len(wanted) == 0 or len(keys) == 0:
        return (found.features.square().sum() + target.features.square().sum()) / total
    position = torch.searchsorted(wanted, keys).clamp(max=len(wanted) - 1)
    is_common = wanted[position] == keys
    own = torch.where(is_common[:, None], target.features[position], target.features.new_zeros(()))
    missed = total - target.features[position[is_common]].square().sum()
    return ((found.features - own).square().sum() + missed.clamp(min=0)) / total
