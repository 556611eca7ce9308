"""Search for the voxels whose features match a payload's, by gradients through the backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.optim import LBFGS

from server.audit.networks.dense_blocks import voxel_centres_m
from server.audit.networks.gated_backbone import mismatch, run_gated
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.backbones.second import SecondBackbone
from shared_models.records import check
from shared_models.sparse.sites import Sites
from shared_models.sparse.tensor import SparseFeatures

_EDGE: Final = 0.98  # of half a voxel; the inverse of tanh at 1 is infinite
_REVISION: Final = 2  # runs of the backbone: one that weighs the voxels, one that tries without some
_PROBES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PointSearchConfig:
    """How one scene is searched.

    steps: runs of the backbone for one scene, all restarts together.
    restarts: searches, the first from the start itself, the others from random places in its voxels.
    revise_every: steps of L-BFGS between attempts to drop voxels.
    drop_share: voxels dropped in the first attempt; halved whenever the features then match less.
    """

    steps: int = 60
    restarts: int = 2
    revise_every: int = 10
    drop_share: float = 0.05

    def __post_init__(self) -> None:
        check.count("PointSearchConfig", "steps", self.steps, 10**7)
        check.count("PointSearchConfig", "restarts", self.restarts, 1000)
        check.count("PointSearchConfig", "revise_every", self.revise_every, 10**6)
        check.number("PointSearchConfig", "drop_share", self.drop_share, 0, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a search ended. voxels: V with (V, 4) means [x y z intensity], metres. mismatch: of their features."""

    voxels: SparseFeatures
    mismatch: float


class PointSearch:
    """White box: needs the backbone's weights, changes none of them."""

    def __init__(self, backbone: SecondBackbone, geometry: CutGeometry, config: PointSearchConfig) -> None:
        self.backbone, self.geometry, self.config = backbone, geometry, config

    def run(self, target: SparseFeatures, start: SparseFeatures, seed_of_restart: Callable[[int], int]) -> Found:
        """The best end of all restarts; never worse than `start`, voxels (V, 4) as in `Found`."""
        with torch.no_grad():
            best = Found(voxels=start, mismatch=float(self.mismatch(start, target)))
        if len(start.sites) == 0:
            return best
        share, rest = divmod(self.config.steps, self.config.restarts)
        for number in range(self.config.restarts):
            generator = torch.Generator().manual_seed(seed_of_restart(number))
            steps = share + (number < rest)
            descent = _Descent(self, target, start, generator)
            if number:
                descent.scatter()
            found = descent.run(steps)
            best = found if found.mismatch < best.mismatch else best
        return best

    def mismatch(self, voxels: SparseFeatures, target: SparseFeatures) -> Tensor:
        """How far the features of `voxels` are from `target`, as `gated_backbone.mismatch` measures it."""
        gates = torch.ones(len(voxels.sites), device=voxels.features.device)
        return mismatch(run_gated(self.backbone, voxels, gates, self.geometry.split_layer), target)


class _Descent:
    """One search. Unbounded coordinates, so that every point stays in its voxel and every intensity in 0 to 1."""

    def __init__(
        self, search: PointSearch, target: SparseFeatures, start: SparseFeatures, generator: torch.Generator
    ) -> None:
        self.search, self.target, self.sites, self.generator = search, target, start.sites, generator
        geometry = search.geometry
        self.size = start.features.new_tensor(geometry.voxel_size_m)
        centres = voxel_centres_m(start.sites.coords[:, 1:], geometry.point_range_m, geometry.voxel_size_m)
        places = ((start.features[:, :3] - centres) / (0.5 * self.size)).clamp(-_EDGE, _EDGE)
        self.values = torch.cat((torch.atanh(places), torch.logit(start.features[:, 3:], 0.01)), 1)
        self.best = Found(voxels=start, mismatch=torch.inf)
        self.drop_share = search.config.drop_share
        self.left = 0

    def scatter(self) -> None:
        """Begin anywhere in the same voxels."""
        drawn = (2 * torch.rand((len(self.sites), 3), generator=self.generator) - 1).to(self.values)
        self.values = torch.cat((torch.atanh(drawn * _EDGE), self.values[:, 3:]), 1)

    def run(self, steps: int) -> Found:
        self.left = steps
        while self.left > 0:
            self._descend(min(self.left, self.search.config.revise_every))
            if self.left >= _REVISION and self.drop_share > 0:
                self._revise()
        return self.best

    def _descend(self, runs: int) -> None:
        """Move the points by L-BFGS in at most `runs` runs of the backbone, one of them to scale the coordinates."""
        start, scale = self.values.detach(), self._scale()
        moved = torch.zeros_like(start, requires_grad=True)
        optimiser = LBFGS(
            [moved],
            max_iter=runs,
            max_eval=max(1, runs - 1),
            tolerance_grad=0,
            tolerance_change=0,
            line_search_fn="strong_wolfe",
        )
        spent = 1

        def closure() -> Tensor:
            nonlocal spent
            optimiser.zero_grad()
            values = start + moved * scale
            voxels = self._voxels(values)
            loss = self.search.mismatch(voxels, self.target)
            (loss * len(self.sites)).backward()
            spent += 1
            self._note(voxels, values, float(loss.detach()))
            return loss * len(self.sites)

        optimiser.step(closure)
        self.left -= spent
        self.values = self.best_values

    def _scale(self) -> Tensor:
        """(V, 4) lengths over which each coordinate changes the features alike: 1 / sqrt(diagonal of J^T J).

        A point far away, or a coordinate that the network hardly reads, changes them far less than another.
        """
        values = self.values.detach().clone().requires_grad_()
        gates = torch.ones(len(self.sites), device=values.device)
        found = run_gated(self.search.backbone, self._voxels(values), gates, self.search.geometry.split_layer)
        squares = self._slopes(found.features, values)
        return 1 / (squares + 1e-2 * squares.mean().clamp(min=1e-12)).sqrt() * squares.mean().sqrt()

    def _slopes(self, features: Tensor, of: Tensor) -> Tensor:
        """Squared slope of all features along each number in `of`, by random signs (M. F. Hutchinson, 1989)."""
        total = torch.zeros_like(of)
        for _ in range(_PROBES):
            signs = 2 * torch.randint(2, features.shape, generator=self.generator).to(features) - 1
            (slope,) = torch.autograd.grad((features * signs).sum(), of, retain_graph=True)
            total += slope.square() / _PROBES
        return total.detach()

    def _revise(self) -> None:
        """Drop the voxels without which the features should match more closely, if then they do."""
        self.left -= _REVISION
        gains = self._gains()
        count = min(round(self.drop_share * len(self.sites)), int((gains > 0).sum()))
        if count == 0:
            self.drop_share /= 2
            return
        kept = torch.ones(len(self.sites), dtype=torch.bool, device=gains.device)
        kept[torch.sort(gains, descending=True, stable=True).indices[:count]] = False
        coords = self.sites.coords[kept].contiguous()
        sites, before = Sites(coords=coords, shape=self.sites.shape, batch_size=1), self.sites
        self.sites = sites
        voxels = self._voxels(self.values[kept])
        with torch.no_grad():
            loss = float(self.search.mismatch(voxels, self.target))
        if loss >= self.best.mismatch:
            self.sites, self.drop_share = before, self.drop_share / 2
            return
        self._note(voxels, self.values[kept], loss)
        self.values = self.best_values

    def _gains(self) -> Tensor:
        """(V,) how much less the features would mismatch without each voxel, to second order in its gate.

        |r - g f'|^2 with residual r falls by the gate's gradient minus |f'|^2.
        """
        gates = torch.ones(len(self.sites), device=self.values.device, requires_grad=True)
        found = run_gated(self.search.backbone, self._voxels(self.values), gates, self.search.geometry.split_layer)
        (gains,) = torch.autograd.grad(mismatch(found, self.target), gates, retain_graph=True)
        total = self.target.features.square().sum().clamp(min=1e-12)
        return gains - self._slopes(found.features, gates) / total

    def _voxels(self, values: Tensor) -> SparseFeatures:
        geometry = self.search.geometry
        centres = voxel_centres_m(self.sites.coords[:, 1:], geometry.point_range_m, geometry.voxel_size_m)
        places = centres + 0.5 * torch.tanh(values[:, :3]) * self.size
        return SparseFeatures(sites=self.sites, features=torch.cat((places, torch.sigmoid(values[:, 3:])), 1))

    def _note(self, voxels: SparseFeatures, values: Tensor, loss: float) -> None:
        if loss < self.best.mismatch:
            detached = SparseFeatures(sites=voxels.sites, features=voxels.features.detach())
            self.best = Found(voxels=detached, mismatch=loss)
            self.best_values = values.detach().clone()
