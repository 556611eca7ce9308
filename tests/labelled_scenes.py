"""Small labelled scans with known geometry, for the tests of training data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from server.training.samples import LabelledScan, Truth

SIZES_M = np.array([[4.0, 1.8, 1.6], [0.8, 0.6, 1.7], [1.8, 0.6, 1.7]])


def inside_offsets(
    points: NDArray[np.floating], box: NDArray[np.floating], yaw_sign: float = 1.0
) -> NDArray[np.float64]:
    """(N, 3) float64: points in the frame of one box, by complex numbers: an independent way to turn them."""
    offset = points[:, :3].astype(np.float64) - box[:3].astype(np.float64)
    turned = (offset[:, 0] + 1j * offset[:, 1]) * np.exp(-1j * yaw_sign * float(box[6]))
    return np.stack((turned.real, turned.imag, offset[:, 2]), axis=1)


def is_inside(points: NDArray[np.floating], box: NDArray[np.floating], slack_m: float = 0.0) -> NDArray[np.bool_]:
    """(N,) bool: whether points lie in one box enlarged by `slack_m` on each side."""
    half = box[3:6].astype(np.float64) / 2 + slack_m
    return (np.abs(inside_offsets(points, box)) <= half).all(axis=1)


def make_scan(
    seed: int = 0, objects: int = 6, background: int = 2000, frame_id: str = "frame", spread_m: float = 12.0
) -> LabelledScan:
    """Objects on a grid so wide that none meet, 20 points well inside each, and background points outside all."""
    rng = np.random.default_rng(seed)
    labels = np.arange(objects) % 3
    boxes = np.zeros((objects, 7))
    boxes[:, 0] = spread_m * (1 + np.arange(objects) % 4) + rng.uniform(-1, 1, objects)
    boxes[:, 1] = spread_m * (np.arange(objects) // 4 - 1) + rng.uniform(-1, 1, objects)
    boxes[:, 2] = rng.uniform(-1.2, -0.6, objects)
    boxes[:, 3:6] = SIZES_M[labels] * rng.uniform(0.9, 1.1, (objects, 3))
    boxes[:, 6] = rng.uniform(-3.1, 3.1, objects)
    boxes = boxes.astype(np.float32)
    own = [_points_in(box, rng, 20) for box in boxes]
    ground = rng.uniform([-5, -40, -2, 0], [70, 40, 1, 1], (background, 4)).astype(np.float32)
    for box in boxes:
        ground = ground[~is_inside(ground, box, 0.05)]
    points = np.concatenate([*own, ground]).astype(np.float32)
    truth = Truth.exact(boxes, labels.astype(np.int64))
    return LabelledScan(frame_id=frame_id, points=rng.permutation(points), truth=truth)


def empty_scan(frame_id: str = "empty", points: int = 0) -> LabelledScan:
    """A scan without objects."""
    truth = Truth.exact(np.empty((0, 7), np.float32), np.empty(0, np.int64))
    return LabelledScan(frame_id=frame_id, points=np.ones((points, 4), np.float32), truth=truth)


def _points_in(box: NDArray[np.float32], rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    local = rng.uniform(-0.45, 0.45, (count, 3)) * box[3:6]
    turned = (local[:, 0] + 1j * local[:, 1]) * np.exp(1j * float(box[6]))
    xyz = np.stack((turned.real, turned.imag, local[:, 2]), axis=1) + box[:3]
    return np.concatenate((xyz, rng.random((count, 1))), axis=1)
