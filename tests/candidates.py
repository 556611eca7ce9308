"""Frames with features and detections, as a vehicle offers them to a selection."""

from __future__ import annotations

import numpy as np
import torch

from shared_models.records import Detections, Frame, GridFeatures, SceneFeatures
from vehicle_client.selection import Candidate

BACKBONE = "ab" * 32
START_NS = 1_700_000_000_000_000_000


def make_candidate(
    number: int = 0,
    *,
    cells: int = 20,
    channels: int = 4,
    scores: tuple[float, ...] | None = (0.9, 0.5),
    x_m: float | None = 0.0,
    time_s: float | None = None,
    backbone_hash: str = BACKBONE,
    values: float | None = None,
) -> Candidate:
    """Frame `number`, one each second; the same arguments give the same candidate.

    x_m: where the scan was taken; None: the frame has no pose. values: of all features; None: noise, by number.
    """
    generator = torch.Generator().manual_seed(number)
    features = torch.rand(cells, channels, generator=generator) * torch.rand(channels, generator=generator)
    coords = torch.stack([torch.zeros(cells), torch.zeros(cells), torch.arange(cells)], 1).int()
    grid = GridFeatures(
        coords=coords, features=features if values is None else torch.full_like(features, values), shape=(1, 1, 1000)
    )
    pose = None
    if x_m is not None:
        pose = np.eye(4)
        pose[0, 3] = x_m
    return Candidate(
        frame=Frame(frame_id=f"{number:06d}", points=np.zeros((cells, 4), np.float32), world_from_lidar=pose),
        features=SceneFeatures(grid=grid, split_layer="conv_out", backbone_hash=backbone_hash),
        detections=None if scores is None else make_detections(scores),
        time_ns=START_NS + round((number if time_s is None else time_s) * 1e9),
    )


def make_detections(scores: tuple[float, ...]) -> Detections:
    """Boxes of these scores."""
    return Detections(
        boxes=torch.ones(len(scores), 7),
        scores=torch.tensor(scores, dtype=torch.float32),
        labels=torch.zeros(len(scores), dtype=torch.int64),
        class_names=("Car",),
    )
