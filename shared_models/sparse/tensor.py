"""Features on active sites of a batch of sparse 3D maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shared_models.records import GridFeatures, check
from shared_models.sparse.sites import Sites, row_major_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseFeatures:
    """One feature row per active site.

    sites: V active cells.
    features: (V, C) floating point.
    """

    sites: Sites
    features: Tensor

    def __post_init__(self) -> None:
        check.shape("SparseFeatures", "features", self.features, (len(self.sites), None))

    def bev_map(self) -> Tensor:
        """(B, C * D, H, W): the dense map with height folded into channels, zero where inactive.

        Channel c of slice z becomes channel c * D + z, as OpenPCDet's HeightCompression lays it out.
        """
        batch_size, (depth, height, width) = self.sites.batch_size, self.sites.shape
        channels = self.features.shape[1]
        cells = batch_size * depth * height * width
        dense = self.features.new_zeros((cells, channels))
        dense = dense.index_copy(0, row_major_keys(self.sites.coords, self.sites.shape), self.features)
        dense = dense.view(batch_size, depth, height, width, channels).permute(0, 4, 1, 2, 3)
        return dense.reshape(batch_size, channels * depth, height, width)

    def scan(self, index: int) -> GridFeatures:
        """The cells of one scan of the batch."""
        rows = self.sites.coords[:, 0] == index
        return GridFeatures(
            coords=self.sites.coords[rows, 1:].contiguous(), features=self.features[rows], shape=self.sites.shape
        )


def collate(grids: Sequence[GridFeatures]) -> SparseFeatures:
    """Several scenes' cells as one batch; scenes without cells are kept."""
    coords = [torch.nn.functional.pad(grid.coords, (1, 0), value=number) for number, grid in enumerate(grids)]
    sites = Sites(coords=torch.cat(coords), shape=grids[0].shape, batch_size=len(grids))
    return SparseFeatures(sites=sites, features=torch.cat([grid.features for grid in grids]))
