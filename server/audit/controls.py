"""The two ends of the scale: an upload that says nothing, and one that says everything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from shared_models import codecs
from shared_models.records import GridFeatures, SceneFeatures, SetFeatures

NO_BACKBONE = "0" * 64


def random_features(features: SceneFeatures, generator: torch.Generator) -> SceneFeatures:
    """As many cells and keypoints as in `features`, at random places of the map, with normally distributed numbers.

    Only the counts still come from the scene. Keypoints are drawn from the box around the scene's own.
    """
    grid = features.grid
    cells, channels = grid.features.shape
    _, height, width = grid.shape
    size = grid.shape[0] * height * width
    keys = torch.sort(torch.randperm(size, generator=generator)[:cells]).values
    coords = torch.stack((keys // (height * width), keys // width % height, keys % width), 1).int()
    drawn = GridFeatures(coords=coords, features=torch.randn((cells, channels), generator=generator), shape=grid.shape)
    return replace(features, grid=drawn, keypoints=_random_keypoints(features.keypoints, generator))


def _random_keypoints(keypoints: SetFeatures | None, generator: torch.Generator) -> SetFeatures | None:
    if keypoints is None or len(keypoints) == 0:
        return keypoints
    low, high = keypoints.positions.amin(0), keypoints.positions.amax(0)
    return SetFeatures(
        positions=low + torch.rand(keypoints.positions.shape, generator=generator) * (high - low),
        features=torch.randn(keypoints.features.shape, generator=generator),
    )


def identity_scan(points: NDArray[np.float32], codec: str) -> NDArray[np.float32]:
    """The scan (N, 4) float32 itself through the codec, with its intensity: what no attack can know better."""
    keypoints = codecs.decode(identity_payload(points, codec)).keypoints
    if keypoints is None:
        return np.zeros((0, 4), np.float32)
    return np.asarray(torch.cat((keypoints.positions, keypoints.features), 1).numpy().astype(np.float32))


def identity_payload(points: NDArray[np.float32], codec: str) -> bytes:
    """A payload whose "features" are the scan (N, 4) float32 itself: positions as keypoints, intensity as feature."""
    scan = torch.from_numpy(np.ascontiguousarray(points, np.float32))
    empty = GridFeatures(coords=torch.zeros((0, 3), dtype=torch.int32), features=torch.zeros((0, 1)), shape=(1, 1, 1))
    keypoints = SetFeatures(positions=scan[:, :3].contiguous(), features=scan[:, 3:4].contiguous())
    features = SceneFeatures(grid=empty, keypoints=keypoints, split_layer="points", backbone_hash=NO_BACKBONE)
    return codecs.encode(features, codec)
