"""A sparse decoder that classifies, scale by scale, which cells were occupied.

After the idea of ConcreTizer (Kim, Hwang, Kim, Bahk, ICLR 2025): tell occupied from empty instead of regressing voxels,
and keep each scale's active cells from spreading. Here each scale reads only the cells from which the backbone's own
strided convolution reaches the cells kept one scale above, and every scale is supervised with the cells that really
were active there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from server.audit.networks.children import UNDONE, Children, children_of, shapes_before
from server.audit.networks.position_code import CODES, PositionCode
from shared_models.backbones.cut_geometry import LAYERS, CutGeometry
from shared_models.backbones.voxelizer import VoxelConfig
from shared_models.records import check
from shared_models.sparse.engine import SparseEngine
from shared_models.sparse.index_pairs import IndexPairs
from shared_models.sparse.layers import SparseConvolution
from shared_models.sparse.sites import ConvolutionSpec, Sites
from shared_models.sparse.tensor import SparseFeatures

_NEIGHBOURS: Final = ConvolutionSpec(is_submanifold=True)
OFFSETS: Final = 4  # x, y, z within the voxel, and intensity


@dataclass(frozen=True, slots=True, kw_only=True)
class OccupancyDecoderConfig:
    """Size of the decoder and how far it spreads.

    width: channels at every scale.
    contexts: convolutions over a scale's kept cells before their children are looked at.
    least_share: below the uploaded layer, the share of a cell's outputs that must be kept for it to be a candidate.
    observed_share: likewise under the uploaded cells themselves. 1 suits uploads with all their cells: an occupied cell
        has no output missing. A guard that drops cells needs less.
    """

    width: int = 24
    contexts: int = 1
    least_share: float = 0.75
    observed_share: float = 1.0

    def __post_init__(self) -> None:
        check.count("OccupancyDecoderConfig", "width", self.width, 1024)
        check.count("OccupancyDecoderConfig", "contexts", self.contexts, 8, 0)
        check.number("OccupancyDecoderConfig", "least_share", self.least_share, 0, 1)
        check.number("OccupancyDecoderConfig", "observed_share", self.observed_share, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """One scale, judged: (V,) logits of being occupied, and (V, width) features, over the V cells of `sites`.

    pairs: from the parents' rows to the candidates'.
    """

    sites: Sites
    pairs: IndexPairs
    logits: Tensor
    features: Tensor

    def chosen(self, is_kept: Tensor) -> SparseFeatures:
        """The cells that are kept (V,) bool, as parents of the next scale."""
        coords = self.sites.coords[is_kept].contiguous()
        sites = Sites(coords=coords, shape=self.sites.shape, batch_size=self.sites.batch_size)
        return SparseFeatures(sites=sites, features=self.features[is_kept])


@dataclass(frozen=True, slots=True, kw_only=True)
class VoxelGuess:
    """What is thought of V voxels. logits: (V,) of being occupied.

    places: (V, 3) mean point, in voxels from the voxel's centre, -0.5 to 0.5 on x, y, z. intensity: (V,) 0 to 1.
    """

    sites: Sites
    logits: Tensor
    places: Tensor
    intensity: Tensor


class _Context(nn.Module):
    """A residual convolution over neighbours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.convolution = SparseConvolution(width, width, _NEIGHBOURS)

    def forward(self, cells: SparseFeatures, engine: SparseEngine) -> SparseFeatures:
        plan = engine.plan(cells.sites, _NEIGHBOURS)
        seen = self.convolution(relu(self.norm(cells.features)), plan, engine)
        return SparseFeatures(sites=cells.sites, features=cells.features + seen)


class _Scale(nn.Module):
    """From kept parents to judged candidates."""

    def __init__(self, config: OccupancyDecoderConfig, spec: ConvolutionSpec) -> None:
        super().__init__()
        width = config.width
        self.contexts = nn.ModuleList([_Context(width) for _ in range(config.contexts)])
        self.norm = nn.LayerNorm(width)
        self.spread = SparseConvolution(width, width, spec)
        self.place = nn.Linear(CODES + 1, width)
        self.mix = nn.Linear(width, width)
        self.judge = nn.Linear(width, 1)

    def forward(self, parents: SparseFeatures, children: Children, codes: Tensor, engine: SparseEngine) -> Candidates:
        for context in self.contexts:
            parents = context(parents, engine)
        known = torch.cat((codes, 4 * (children.shares[:, None] - 0.75)), 1)
        spread = self.spread(relu(self.norm(parents.features)), children.plan, engine)
        features = relu(spread + self.place(known))
        features = features + relu(self.mix(features))
        logits = self.judge(features).squeeze(1)
        return Candidates(sites=children.sites, pairs=children.plan.pairs, logits=logits, features=features)


class OccupancyDecoder(nn.Module):
    """Features of one layer to occupied voxels, and where in them the points lie."""

    scale: Tensor
    """(C,) what uploaded features are divided by."""

    def __init__(
        self, geometry: CutGeometry, in_channels: int, config: OccupancyDecoderConfig, engine: SparseEngine
    ) -> None:
        super().__init__()
        self.config, self.engine, self.layer = config, engine, geometry.split_layer
        voxels = VoxelConfig(point_range_m=geometry.point_range_m, voxel_size_m=geometry.voxel_size_m)
        self.specs = UNDONE[self.layer]
        self.shapes = shapes_before(self.layer, voxels.sparse_shape)
        self.layers = LAYERS[: LAYERS.index(self.layer)][::-1]  # of the cells before each convolution
        self.register_buffer("scale", torch.ones(in_channels))
        self.position = PositionCode(geometry)
        self.enter = nn.Linear(in_channels, config.width)
        self.enter_place = nn.Linear(CODES, config.width)
        self.scales = nn.ModuleList([_Scale(config, spec) for spec in self.specs])
        self.last = _Context(config.width)
        self.finish = nn.Sequential(nn.ReLU(), nn.Linear(config.width, config.width), nn.ReLU())
        self.occupied = nn.Linear(config.width, 1)
        self.offsets = nn.Linear(config.width, OFFSETS)

    def begin(self, uploaded: SparseFeatures) -> SparseFeatures:
        """Uploaded cells (V, C) as the first parents."""
        codes = self.position(uploaded.sites.coords, self.layer)
        features = self.enter(uploaded.features / self.scale) + self.enter_place(codes)
        return SparseFeatures(sites=uploaded.sites, features=features)

    def candidates(self, number: int, parents: SparseFeatures) -> Candidates:
        """The cells of scale `number` (0 is the one before the uploaded layer) under kept `parents`."""
        share = self.config.least_share if number else self.config.observed_share
        children = children_of(parents.sites, self.specs[number], self.shapes[number], share)
        codes = self.position(children.sites.coords, self.layers[number])
        scale: nn.Module = self.scales[number]
        found: Candidates = scale(parents, children, codes, self.engine)
        return found

    def voxels(self, kept: SparseFeatures) -> VoxelGuess:
        """What is thought of the voxels that the last scale kept."""
        seen = self.finish(self.last(kept, self.engine).features)
        offsets = self.offsets(seen)
        return VoxelGuess(
            sites=kept.sites,
            logits=self.occupied(seen).squeeze(1),
            places=0.5 * torch.tanh(offsets[:, :3]),
            intensity=torch.sigmoid(offsets[:, 3]),
        )


def keep_likely(found: Candidates, most: int) -> Tensor:
    """(V,) bool: the `most` likeliest candidates, and the likeliest child of each parent.

    Nothing is active without an occupied cell below it. Without that rule all that is kept lies where the decoder is
    most certain, and places that it knows less about end up empty.
    """
    logits = found.logits.detach()
    of_pairs = logits[found.pairs.outputs]
    parents = 0 if len(of_pairs) == 0 else int(found.pairs.inputs.max()) + 1
    best = logits.new_full((parents,), -torch.inf)
    best = best.scatter_reduce(0, found.pairs.inputs, of_pairs, "amax")
    is_best = of_pairs == best[found.pairs.inputs]
    kept = keep_most(logits, most)
    kept[found.pairs.outputs[is_best]] = True
    return kept


def keep_most(logits: Tensor, most: int) -> Tensor:
    """(V,) bool: the `most` highest of (V,) logits, of equal ones the first."""
    order = torch.sort(logits, descending=True, stable=True).indices[:most]
    return torch.zeros(len(logits), dtype=torch.bool, device=logits.device).index_fill_(0, order, True)
