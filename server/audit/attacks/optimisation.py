"""Optimisation attack, white box: look for points whose features are those in the payload.

Which cells are active is not differentiable. So the search starts from another attack's points, moves each point inside
its voxel by gradients through the mean VFE and the sparse backbone, and drops voxels without which the features match
more closely. It never adds a voxel: what the start misses stays missing.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, final

import numpy as np
import torch

from server.audit import attacks
from server.audit.attack import Reconstruction, ReconstructionAttack, Spent, Workbench
from server.audit.networks.fitting import seed_of
from server.audit.networks.own_scenes import voxel_config
from server.audit.networks.payload_reader import PayloadReader
from server.audit.networks.point_search import PointSearch, PointSearchConfig
from server.audit.threat import Ability, AttackerView
from shared_models.backbones.voxelizer import crop_to_range, voxelize
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import BackboneMismatchError, InvalidValueError
from shared_models.sparse.tensor import SparseFeatures, collate

USUAL_INTENSITY: Final = 0.3  # where the start names none


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimisationConfig:
    """start: the attack whose points are improved; "auto" is occupancy with scans of the attacker's own, else
        active_cells. start_settings: of that attack's configuration.
    search: how each scene is searched; its steps are at most those of the threat's budget.
    """

    start: Literal["auto", "active_cells", "mean_scene", "decoder", "occupancy"] = "auto"
    start_settings: Mapping[str, Any] = field(default_factory=dict)
    search: PointSearchConfig = field(default_factory=PointSearchConfig)


@final
class Optimisation(ReconstructionAttack):
    """Gradient search with the backbone's weights."""

    name = "optimisation"
    needs = frozenset({Ability.WHITE_BOX})
    may_use = frozenset({Ability.PAIRED})
    config_class = OptimisationConfig
    config: OptimisationConfig
    _start: ReconstructionAttack | None = None
    _search: PointSearch | None = None
    _hash: str = ""
    _device: str = "cpu"
    _seed: int = 0

    def prepare(self, view: AttackerView, bench: Workbench) -> None:
        detector = view.white_box()
        if not isinstance(detector, AnchorDetector):
            raise InvalidValueError(f"optimisation: expected a detector with SECOND's backbone, got {detector.name}")
        start = attacks.build(self._start_name(view), self.config.start_settings)
        assert isinstance(start, ReconstructionAttack)
        folder = bench.folder / "start" if bench.folder is not None else None
        start.prepare(view, replace(bench, folder=folder))
        steps = max(1, min(self.config.search.steps, view.budget.steps))
        config = replace(self.config.search, steps=steps)
        backbone = copy.deepcopy(detector.backbone_3d).to(bench.device)  # the vehicle's own stays where it is
        self._device = bench.device
        self._search = PointSearch(backbone, view.geometry, config)
        self._start, self._hash, self._seed = start, detector.backbone_hash, bench.seed

    def reconstruct(self, payload: bytes) -> Reconstruction:
        if self._search is None or self._start is None:
            raise InvalidValueError("optimisation: prepare it before it reconstructs")
        geometry = self._search.geometry
        reader = PayloadReader.of(payload)
        if (reader.split_layer, reader.backbone_hash) != (geometry.split_layer, self._hash):
            raise BackboneMismatchError(
                f"payload: expected {geometry.split_layer} of backbone {self._hash[:12]}, got {reader.split_layer} of "
                f"backbone {reader.backbone_hash[:12]}; give the attack the checkpoint that made the payload"
            )
        target, first = (_on(each, self._device) for each in (collate([reader.read(payload)]), self._first(payload)))
        found = self._search.run(target, first, lambda number: seed_of(self._seed, "restart", number))
        voxels = _on(found.voxels, "cpu")
        return Reconstruction(
            points=voxels.features.numpy(),
            cells=voxels.sites.coords[:, 1:].flip(1).long().numpy(),
            cell_size_m=geometry.voxel_size_m,
        )

    def spent(self) -> Spent:
        """Of the start's training; the search of each scene has steps of its own."""
        return self._start.spent() if self._start is not None else Spent()

    def _start_name(self, view: AttackerView) -> str:
        if self.config.start != "auto":
            return self.config.start
        return "occupancy" if Ability.PAIRED in view.abilities else "active_cells"

    def _first(self, payload: bytes) -> SparseFeatures:
        """The start's points as voxels."""
        assert self._start is not None
        assert self._search is not None
        points = self._start.reconstruct(payload).points
        if points.shape[1] == 3:
            points = np.concatenate((points, np.full((len(points), 1), USUAL_INTENSITY, np.float32)), 1)
        config = voxel_config(self._search.geometry)
        return voxelize([crop_to_range(torch.from_numpy(np.ascontiguousarray(points)), config)], config).cells


def _on(features: SparseFeatures, device: str) -> SparseFeatures:
    """The same features on another device."""
    sites = replace(features.sites, coords=features.sites.coords.to(device))
    return replace(features, sites=sites, features=features.features.to(device))
