"""Precision and recall of pseudo labels, worked by hand."""

from __future__ import annotations

import math

import numpy as np

from server.training.pseudo_label_quality import LabelQuality, label_quality
from server.training.samples import Truth


def truth(rows: list[tuple[float, float, int]], ignored: tuple[int, ...] = ()) -> Truth:
    """Boxes of 4 x 2 x 1.5 m at (x, y) with a label."""
    boxes = np.array([[x, y, 0, 4, 2, 1.5, 0] for x, y, _ in rows], dtype=np.float32).reshape(-1, 7)
    labels = np.array([label for *_, label in rows], dtype=np.int64)
    is_ignored = np.isin(np.arange(len(rows)), ignored)
    return Truth(boxes=boxes, labels=labels, is_ignored=is_ignored, is_exact=np.zeros(len(rows), dtype=bool))


def test_counts_by_hand() -> None:
    known = truth([(10, 0, 0), (20, 0, 0), (30, 0, 1)])
    # right, far off, wrong class, a second one on an object that is found already
    pseudo = truth([(10.5, 0, 0), (50, 0, 0), (30, 0, 0), (10, 0.2, 0)])
    quality = label_quality(pseudo, known)
    assert quality == LabelQuality(found=1, wrong=3, missed=2)
    assert quality.precision == 0.25
    assert quality.recall == 1 / 3


def test_the_best_overlap_is_taken_first() -> None:
    # The first pseudo label fits both objects; only if it takes its best one is the other left for the second label.
    known = truth([(10, 0, 0), (11, 0, 0)])
    pseudo = truth([(10.6, 0, 0), (9.4, 0, 0)])  # overlaps 0.74 and 0.82, 0.74 and 0.44
    assert label_quality(pseudo, known, 0.5) == LabelQuality(found=2)


def test_ignored_labels_do_not_count() -> None:
    assert label_quality(truth([(10, 0, 0)], ignored=(0,)), truth([(10, 0, 0)])) == LabelQuality(missed=1)


def test_nothing_on_either_side() -> None:
    nothing = truth([])
    assert label_quality(nothing, truth([(1, 1, 0)])) == LabelQuality(missed=1)
    assert label_quality(truth([(1, 1, 0)]), nothing) == LabelQuality(wrong=1)
    assert math.isnan(label_quality(nothing, nothing).precision)
    assert math.isnan(label_quality(nothing, nothing).recall)


def test_sums() -> None:
    total = LabelQuality(found=1, wrong=2, missed=3).plus(LabelQuality(found=10, wrong=20, missed=30))
    assert total == LabelQuality(found=11, wrong=22, missed=33)
