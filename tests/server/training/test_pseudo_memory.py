"""The memory of pseudo labels, worked by hand."""

from __future__ import annotations

import numpy as np

from server.training.pseudo_memory import MemoryConfig, Remembered, merge
from server.training.samples import Truth


def labels(rows: list[tuple[float, float]], misses: int = 0) -> Remembered:
    """Cars of 4 x 2 x 1.5 m at x with a score."""
    boxes = np.array([[x, 0, 0, 4, 2, 1.5, 0] for x, _ in rows], dtype=np.float32).reshape(-1, 7)
    no = np.zeros(len(rows), dtype=bool)
    truth = Truth(boxes=boxes, labels=np.zeros(len(rows), dtype=np.int64), is_ignored=no, is_exact=no)
    scores = np.array([score for _, score in rows], dtype=np.float32)
    return Remembered(truth=truth, scores=scores, misses=np.full(len(rows), misses, dtype=np.int64))


def places(found: Remembered) -> dict[float, tuple[int, bool]]:
    keys = found.truth.boxes[:, 0].round(1).tolist()
    return dict(zip(keys, zip(found.misses.tolist(), found.truth.is_ignored.tolist(), strict=True), strict=True))


def test_of_a_pair_the_better_one_stays() -> None:
    found = merge(labels([(0, 0.9), (10, 0.5)], misses=1), labels([(0.5, 0.7), (10.5, 0.8)]), MemoryConfig())
    assert places(found) == {0.0: (0, False), 10.5: (0, False)}


def test_an_unmatched_one_is_kept_then_ignored_then_dropped() -> None:
    nothing, known = labels([]), labels([(0, 0.9)])
    known = merge(known, nothing, MemoryConfig())
    assert places(known) == {0.0: (1, False)}
    known = merge(known, nothing, MemoryConfig())
    assert places(known) == {0.0: (2, True)}
    assert len(merge(known, nothing, MemoryConfig()).truth) == 0


def test_new_ones_are_added() -> None:
    assert places(merge(labels([(0, 0.9)]), labels([(30, 0.6)]), MemoryConfig())) == {0.0: (1, False), 30.0: (0, False)}
    assert places(merge(labels([]), labels([(30, 0.6)]), MemoryConfig())) == {30.0: (0, False)}


def test_nearly_apart_is_not_a_match() -> None:
    # 3.4 m apart: 0.6 of 7.4 m in common, 0.08
    assert len(merge(labels([(0, 0.9)]), labels([(3.4, 0.5)]), MemoryConfig()).truth) == 2


def test_one_that_is_found_again_is_learned_from_again() -> None:
    """Missed twice, so ignored; then the detector is sure of it, with a lower score than the remembered one."""
    known = labels([(0, 0.9)])
    for _ in range(2):
        known = merge(known, labels([]), MemoryConfig())
    assert places(known) == {0.0: (2, True)}
    assert places(merge(known, labels([(0.5, 0.8)]), MemoryConfig())) == {0.0: (0, False)}
    unsure = labels([(0.5, 0.3)])
    unsure = Remembered.fresh(
        Truth(
            boxes=unsure.truth.boxes,
            labels=unsure.truth.labels,
            is_ignored=np.ones(1, dtype=bool),
            is_exact=np.zeros(1, dtype=bool),
        ),
        unsure.scores,
    )
    assert places(merge(known, unsure, MemoryConfig())) == {0.0: (0, True)}
