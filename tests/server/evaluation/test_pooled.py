from __future__ import annotations

import numpy as np
import pytest
import torch

from server.evaluation import pooled
from server.evaluation.pooled import box_overlaps, image_overlaps, pairs_within_groups, pool, region_share
from shared_models.geometry.iou import iou_3d, iou_bev


@pytest.mark.parametrize("at_once", [1, 3, 1 << 20])
def test_pairs_within_groups(at_once, monkeypatch) -> None:
    monkeypatch.setattr(pooled, "PAIRS_AT_ONCE", at_once)
    a, b = np.array([0, 0, 2, 3, 5, 5]), np.array([0, 1, 2, 2, 5, 5, 5])
    found = [pair for i, j in pairs_within_groups(a, b) for pair in zip(i.tolist(), j.tolist(), strict=True)]
    assert found == [(i, j) for i in range(6) for j in range(7) if a[i] == b[j]]


def test_no_groups() -> None:
    none = np.empty(0, dtype=np.int64)
    assert list(pairs_within_groups(none, np.array([1]))) == []
    assert [len(i) for i, _ in pairs_within_groups(np.array([1]), none)] == [0]


@pytest.mark.parametrize("at_once", [2, 1 << 20])
def test_overlaps_are_those_of_each_frame(at_once, thing, frame_of, monkeypatch) -> None:
    monkeypatch.setattr(pooled, "PAIRS_AT_ONCE", at_once)
    generator = np.random.default_rng(5)

    def random():
        x, z = generator.uniform(-3, 3), generator.uniform(18, 22)
        left, top = generator.uniform(0, 100, 2)
        box = (left, top, left + 60, top + 40)
        return thing(x=x, z=z, rotation_y_rad=generator.uniform(-3, 3), image_box=box, score=0.5)

    frames = [
        frame_of([random() for _ in range(n)], [random() for _ in range(m)], f"{k:06d}")
        for k, (n, m) in enumerate([(3, 4), (0, 2), (2, 0), (5, 5)])
    ]
    objects = pool(frames)
    bev, volume = box_overlaps(objects)
    for overlaps, exact in ((bev, iou_bev), (volume, iou_3d)):
        dense = np.zeros((len(objects.truth), len(objects.detections)))
        dense[overlaps.truth, overlaps.detection] = overlaps.iou
        expected = np.zeros_like(dense)
        rows = columns = 0
        for frame in frames:
            boxes = torch.from_numpy(frame.truth.boxes), torch.from_numpy(frame.detections.boxes)
            block = exact(*boxes).numpy()
            expected[rows : rows + block.shape[0], columns : columns + block.shape[1]] = block
            rows, columns = rows + block.shape[0], columns + block.shape[1]
        assert (expected > 0).sum() > 10
        np.testing.assert_allclose(dense, expected, atol=1e-12)
        assert np.all(np.diff(overlaps.truth) >= 0)


def test_image_overlaps_by_hand(thing, frame_of) -> None:
    truth, detection = thing(image_box=(0.0, 0.0, 10.0, 10.0)), thing(image_box=(5.0, 0.0, 15.0, 20.0), score=0.1)
    empty = thing(image_box=(0.0, 0.0, 0.0, 0.0), score=0.1)
    overlaps = image_overlaps(pool([frame_of([truth, empty], [detection, empty])]))
    assert (overlaps.truth.tolist(), overlaps.detection.tolist()) == ([0], [0])
    assert overlaps.iou[0] == pytest.approx(50 / (100 + 200 - 50))


def test_region_share_is_the_largest_and_only_of_the_own_frame(thing, frame_of, region) -> None:
    detection = thing(image_box=(0.0, 0.0, 10.0, 10.0), score=0.1)
    regions = [region(0, 0, 2, 10), region(0, 0, 10, 6), region(50, 50, 60, 60)]
    frames = [frame_of(regions, [detection], "a"), frame_of([], [detection], "b")]
    np.testing.assert_allclose(region_share(pool(frames)), [0.6, 0.0])
