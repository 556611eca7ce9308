from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from server.evaluation.waymo import (
    WaymoClass,
    WaymoEvaluationConfig,
    average_precision,
    evaluate_waymo,
)
from shared_models.errors import InvalidValueError

VEHICLES = WaymoEvaluationConfig(classes=(WaymoClass(),))


def frame(frame_of, labelled, points, detected, name="000000"):
    made = frame_of(labelled, detected, name)
    return replace(made, truth=replace(made.truth, point_counts=np.array(points, dtype=np.int64)))


def numbers(frames):
    return evaluate_waymo(frames, VEHICLES).to_dict()["vehicle"]


def test_levels_by_hand(thing, frame_of) -> None:
    """Found: a LEVEL_1 object at 0.9, a LEVEL_2 object at 0.6 facing backwards; one false alarm at 0.7; one missed."""
    first, second, missed, unseen = (thing("Vehicle", x=x) for x in (0, 10, -10, -20))
    detections = [
        replace(first, score=0.905),
        replace(second, score=0.605, rotation_y_rad=math.pi),
        replace(thing("Vehicle", x=30), score=0.705),
    ]
    found = numbers([frame(frame_of, [first, second, missed, unseen], [6, 5, 100, 0], detections)])
    assert (found["level_1"]["objects"], found["level_2"]["objects"]) == (2, 3)
    # LEVEL_2: recall 1/3 at precision 1, 2/3 at 2/3. Between them points every 0.05 below 2/3 hold 2/3, the lowest at
    # 2/3 - 0.30, so only 1/30 of recall slopes from 1 to 2/3.
    assert found["level_2"]["ap"] == pytest.approx(100 * (1 / 3 + (1 / 30) * (5 / 6) + 0.30 * (2 / 3)))
    # Facing backwards is worth nothing: precision 1/3 in place of 2/3.
    assert found["level_2"]["aph"] == pytest.approx(100 * (1 / 3 + (1 / 30) * (2 / 3) + 0.30 * (1 / 3)))
    # LEVEL_1: the found LEVEL_2 object counts, a missed one would not: recall 1/2 at 1, 2/3 at 2/3; 1/60 slopes.
    assert found["level_1"]["ap"] == pytest.approx(100 * (1 / 2 + (1 / 60) * (5 / 6) + 0.15 * (2 / 3)))


@pytest.mark.parametrize(
    ("turn", "accuracy"), [(0.0, 1.0), (math.pi / 2, 0.5), (-math.pi / 4, 0.75), (2 * math.pi, 1.0)]
)
def test_heading(turn, accuracy, thing, frame_of) -> None:
    """A box turned in place; length and width are equal, so that it overlaps whatever its heading."""
    box = thing("Vehicle", size_m=(2.0, 2.0, 2.0))
    found = numbers([frame(frame_of, [box], [9], [replace(box, score=0.5, rotation_y_rad=turn)])])
    assert found["level_1"]["ap"] == pytest.approx(100)
    assert found["level_1"]["aph"] == pytest.approx(100 * accuracy)


def test_overlaps_are_maximised_together(thing, frame_of) -> None:
    """Detection a overlaps object 0 most, but only object 0 is left for b: both are found when a takes object 1."""
    objects = [thing("Vehicle", x=0.0), thing("Vehicle", x=0.7)]
    a, b = thing("Vehicle", x=0.2, score=0.9), thing("Vehicle", x=-0.55, score=0.8)
    found = numbers([frame(frame_of, objects, [9, 9], [a, b])])
    assert found["level_2"]["ap"] == pytest.approx(100)


def test_an_overlap_of_exactly_the_limit_is_enough(thing, frame_of) -> None:
    exact = WaymoEvaluationConfig(classes=(WaymoClass(min_iou=0.5),))
    box, half = thing("Vehicle"), thing("Vehicle", size_m=(1.0, 2.0, 4.0), score=0.5)
    report = evaluate_waymo([frame(frame_of, [box], [9], [half])], exact)
    assert report.scores[0].ap == pytest.approx(100)


def test_nothing_there_and_nothing_found(thing, frame_of) -> None:
    found = numbers([frame(frame_of, [], [], [thing("Vehicle", score=0.5)])])
    assert found["level_1"] == {"ap": None, "aph": None, "objects": 0}
    found = numbers([frame(frame_of, [thing("Vehicle")], [3], [])])
    assert found["level_1"] == {"ap": None, "aph": None, "objects": 0}
    assert found["level_2"] == {"ap": 0, "aph": 0, "objects": 1}


def test_average_precision_by_hand() -> None:
    # One point: recall 0 takes its precision.
    assert average_precision(np.array([0.8]), np.array([0.5]), 0.05) == pytest.approx(40)
    # Gaps within the limit are trapezoids: 0.04 at 1, then from 1 to 0.5 over 0.04.
    precision, recall = np.array([0.5, 1.0]), np.array([0.08, 0.04])
    assert average_precision(precision, recall, 0.05) == pytest.approx(100 * (0.04 + 0.04 * 0.75))
    # A worse precision at a smaller recall is raised.
    assert average_precision(np.array([0.2, 0.6]), np.array([0.5, 1.0]), 0.05) == pytest.approx(60)
    assert average_precision(np.array([0.0]), np.array([0.0]), 0.05) == 0


def test_what_is_absent_is_refused(thing, frame_of) -> None:
    with pytest.raises(InvalidValueError, match="LiDAR points were not counted"):
        evaluate_waymo([frame_of([thing("Vehicle")], [])])
    with pytest.raises(InvalidValueError, match="expected scores of 0 to 1"):
        evaluate_waymo([frame(frame_of, [], [], [thing("Vehicle", score=1.5)])])
    with pytest.raises(InvalidValueError, match="at least one frame"):
        evaluate_waymo([])


@pytest.mark.parametrize("seed", range(8))
def test_each_cutoff_on_its_own_gives_the_same(seed, thing, frame_of) -> None:
    """Every permutation of every frame at every cut-off, in place of the Hungarian method on groups."""
    generator = np.random.default_rng(seed)

    def random(**changes):
        # Never two equal shifts: which of two equally good assignments is taken would be a matter of chance.
        x = generator.choice([0, 0.2, 0.4, 0.55, 6.0]) + generator.normal(0, 0.02)
        return thing("Vehicle", x=float(x), **changes)

    frames = []
    for k in range(8):
        labelled = [random() for _ in range(generator.integers(0, 4))]
        detected = [random(score=round(generator.random(), 2)) for _ in range(generator.integers(0, 4))]
        frames.append(frame(frame_of, labelled, generator.integers(1, 10, len(labelled)), detected, f"{k}"))
    found = numbers(frames)
    for level, most in (("level_1", 6), ("level_2", 1)):
        precision, recall = zip(*(by_cutoff(frames, cutoff / 100, most) for cutoff in range(101)), strict=True)
        expected = average_precision(np.array(precision), np.array(recall), 0.05)
        assert found[level]["ap"] == pytest.approx(expected)


def by_cutoff(frames, cutoff: float, least_points: int) -> tuple[float, float]:
    hits = missed = false = 0
    for one in frames:
        kept = np.flatnonzero(one.detections.scores >= cutoff)
        shift = np.abs(one.truth.boxes[:, None, 1] - one.detections.boxes[None, kept, 1])
        iou = np.maximum(4 - shift, 0) / (4 + shift)  # boxes 4 m long, shifted along their length
        matched = best_assignment(np.where(iou >= 0.7, iou, 0.0))
        hits += len(matched)
        false += len(kept) - len(matched)
        levels = one.truth.point_counts >= least_points
        missed += sum(bool(levels[row]) and row not in matched for row in range(len(levels)))
    return hits / max(1, hits + false), hits / max(1, hits + missed)


def best_assignment(gain: np.ndarray) -> set[int]:
    """Rows of the assignment with the largest sum, by trying all of them."""
    best: tuple[float, set[int]] = (0.0, set())

    def extend(row: int, used: frozenset[int], total: float, rows: set[int]) -> None:
        nonlocal best
        if row == gain.shape[0]:
            best = max(best, (total, rows), key=lambda pair: pair[0])
            return
        extend(row + 1, used, total, rows)
        for column in range(gain.shape[1]):
            if gain[row, column] > 0 and column not in used:
                extend(row + 1, used | {column}, total + gain[row, column], rows | {row})

    extend(0, frozenset(), 0.0, set())
    return best[1]
