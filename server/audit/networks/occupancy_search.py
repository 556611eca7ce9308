"""From uploaded cells to points with a trained occupancy decoder, each scale's spread held within calibrated limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from server.audit.networks.children import occupied_before
from server.audit.networks.occupancy_decoder import OccupancyDecoder, keep_likely
from server.audit.networks.occupancy_loss import voxel_centres_m
from server.audit.networks.own_scenes import OwnScene
from shared_models.records import GridFeatures
from shared_models.sparse.tensor import SparseFeatures, collate


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseGuess:
    """Voxels that may be occupied. points: (M, 4) float32 [x y z intensity], metres. cells: (M, 3) int32 [z y x].

    logits: (M,) float32 of being occupied.
    """

    points: Tensor
    logits: Tensor
    cells: Tensor


def spreads(decoder: OccupancyDecoder, scenes: Sequence[OwnScene]) -> tuple[float, ...]:
    """Cells that really are active before each undone convolution, per uploaded cell, over `scenes` together."""
    uploaded = max(1, sum(len(scene.grid) for scene in scenes))
    counts = [[len(sites) for sites in occupied_before(scene.voxels.sites, decoder.layer)] for scene in scenes]
    return tuple(sum(each) / uploaded for each in zip(*counts, strict=True))


def search(decoder: OccupancyDecoder, grid: GridFeatures, most: Sequence[float]) -> SparseGuess:
    """The voxels that the last scale keeps, with what the decoder thinks of each.

    most: of each scale, the cells that it keeps, per uploaded cell; beside them only one for each cell above.
    """
    parents: SparseFeatures = decoder.begin(collate([grid]))
    for number, limit in enumerate(most):
        found = decoder.candidates(number, parents)
        parents = found.chosen(keep_likely(found, ceil(limit * len(grid))))
    guess = decoder.voxels(parents)
    coords = guess.sites.coords
    size = guess.places.new_tensor(decoder.position.voxel_size_m)
    points = torch.cat((voxel_centres_m(decoder, coords) + guess.places * size, guess.intensity[:, None]), 1)
    logits = guess.logits if decoder.specs else torch.full_like(guess.logits, torch.inf)
    return SparseGuess(points=points.cpu(), logits=logits.cpu(), cells=coords[:, 1:].cpu())
