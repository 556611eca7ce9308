"""Intermediate features of one scene: the only thing that leaves a vehicle."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.records import check

MAX_GUARD_LENGTH = 400  # characters
NO_GUARD = "none"  # name of the guard that does nothing; policies and the catalogue write it where there is no guard


@dataclass(frozen=True, slots=True, kw_only=True)
class GridFeatures:
    """Active cells of a sparse 3D feature map; V = 0 is valid.

    coords: (V, 3) int32 [z y x] cell indices, unique, sorted by z, then y, then x.
    features: (V, C) float32.
    shape: (D, H, W) size of the map in cells.
    """

    coords: Tensor
    features: Tensor
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        check.shape("GridFeatures", "coords", self.coords, (None, 3))
        check.dtype("GridFeatures", "coords", self.coords, torch.int32)
        check.shape("GridFeatures", "features", self.features, (self.coords.shape[0], None))
        check.dtype("GridFeatures", "features", self.features, torch.float32)
        if self.coords.shape[0] == 0:
            return
        low, high = self.coords.amin(0).tolist(), self.coords.amax(0).tolist()
        if min(low) < 0 or any(h >= s for h, s in zip(high, self.shape, strict=True)):
            raise InvalidValueError(f"GridFeatures.coords: {low} to {high} lies outside the map {self.shape}")
        keys = self.keys()
        if not bool((keys[1:] > keys[:-1]).all()):
            raise InvalidValueError("GridFeatures.coords: cells must be unique and sorted by z, y, x")

    def keys(self) -> Tensor:
        """(V,) int64: each cell's row-major number in the map."""
        z, y, x = self.coords.long().unbind(1)
        return (z * self.shape[1] + y) * self.shape[2] + x

    def __len__(self) -> int:
        return int(self.coords.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFeatures:
    """Keypoints with their features (PV-RCNN); K = 0 is valid.

    positions: (K, 3) float32 [x y z], metres, LiDAR frame. These are raw LiDAR points: see docs/privacy.md.
    features: (K, C) float32.
    """

    positions: Tensor
    features: Tensor

    def __post_init__(self) -> None:
        count = self.positions.shape[0]
        check.shape("SetFeatures", "positions", self.positions, (count, 3))
        check.dtype("SetFeatures", "positions", self.positions, torch.float32)
        check.shape("SetFeatures", "features", self.features, (count, None))
        check.dtype("SetFeatures", "features", self.features, torch.float32)

    def __len__(self) -> int:
        return int(self.positions.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFeatures:
    """Features of one scene at the cut between vehicle and server.

    grid: active cells of the split layer.
    keypoints: the set-type features, None for detectors without them.
    split_layer: name of the layer whose output `grid` is, e.g. "conv_out".
    backbone_hash: SHA-256 (hex) over configuration and parameters of everything before the cut.
    guard: what the vehicle did to the features afterwards, as `shared_models.guard.Guard.described` says it, or "".
    """

    grid: GridFeatures
    keypoints: SetFeatures | None = None
    split_layer: str
    backbone_hash: str
    guard: str = ""

    def __post_init__(self) -> None:
        check.name("SceneFeatures", "split_layer", self.split_layer)
        if self.guard:
            check.name("SceneFeatures", "guard", self.guard, MAX_GUARD_LENGTH)
        check.sha256_hex("SceneFeatures", "backbone_hash", self.backbone_hash)

    def to(self, device: torch.device | str) -> SceneFeatures:
        """The same features on another device; the same object where they are there already."""
        if self.grid.features.device == torch.device(device):
            return self
        grid = replace(self.grid, coords=self.grid.coords.to(device), features=self.grid.features.to(device))
        keypoints = self.keypoints
        if keypoints is not None:
            keypoints = SetFeatures(positions=keypoints.positions.to(device), features=keypoints.features.to(device))
        return replace(self, grid=grid, keypoints=keypoints)
