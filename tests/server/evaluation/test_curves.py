from __future__ import annotations

import numpy as np
import pytest

from server.evaluation.curves import Curve, all_point_ap, best_from_here_on, recall_thresholds, sampled_ap
from shared_models.errors import InvalidValueError


def curve(hits, false_alarms, objects, credit=None) -> Curve:
    count = len(hits)
    return Curve(
        scores=np.linspace(1, 0, count),
        hits=np.array(hits, dtype=float),
        false_alarms=np.array(false_alarms, dtype=float),
        credit=np.array(hits if credit is None else credit, dtype=float),
        objects=objects,
    )


def test_all_points_by_hand() -> None:
    """Recall 1/4 at precision 1, 2/4 at 2/4, 3/4 at 3/5: the second is raised to 3/5, the last quarter never found."""
    made = curve([1, 1, 1, 2, 3], [0, 1, 2, 2, 2], 4)
    assert all_point_ap(made) == pytest.approx(100 * (0.25 * 1 + 0.5 * 0.6))


def test_all_points_where_a_lower_threshold_finds_fewer() -> None:
    """Precision at a recall is the best at it or a larger one, in whatever order they are reached."""
    assert all_point_ap(curve([1, 2, 1, 2], [0, 0, 2, 2], 2)) == 100


def test_credit_counts_in_place_of_hits() -> None:
    assert all_point_ap(curve([1, 2], [0, 0], 2, credit=[1.0, 1.5])) == pytest.approx(50 * 1 + 50 * 0.75)


def test_without_objects_or_credit_there_is_no_ap() -> None:
    for made in (curve([0, 0], [1, 2], 0), curve([1], [0], 1, credit=[np.nan])):
        assert np.isnan([all_point_ap(made), *sampled_ap(made, made.scores)]).all()
    assert curve([0], [1], 0).best_threshold() is None
    assert np.isnan(curve([0], [1], 0).recall).all()


def test_without_detections_ap_is_zero() -> None:
    made = curve([], [], 3)
    assert all_point_ap(made) == 0
    assert sampled_ap(made, recall_thresholds(np.empty(0), 3)) == (0, 0)
    assert made.best_threshold() is None


def test_sampled_ap_by_hand() -> None:
    """Three samples, precision 1/2, 1 and 1/4: the first is raised to 1."""
    made = curve([1, 2, 2], [1, 0, 6], 4)
    eleven, forty = sampled_ap(made, made.scores)
    assert forty == pytest.approx(100 * (1 + 0.25) / 40)
    assert eleven == pytest.approx(100 * 1 / 11)


def test_recall_thresholds_skip_scores_between_the_steps() -> None:
    """80 objects, all found: recall rises by 1/80, so each second score is nearest to a step of 1/40."""
    scores = np.linspace(0.99, 0.2, 80)
    chosen = recall_thresholds(scores, 80)
    assert len(chosen) == 41
    assert chosen[0] == scores[0]
    # recall k/40 is reached exactly by score number 2k
    np.testing.assert_array_equal(chosen[1:], scores[1::2])


def test_recall_thresholds_keep_every_score_of_few_objects() -> None:
    scores = np.array([0.3, 0.9, 0.5])
    assert recall_thresholds(scores, 3).tolist() == [0.9, 0.5, 0.3]
    assert recall_thresholds(np.empty(0), 0).tolist() == []


def test_best_threshold_has_the_highest_f1() -> None:
    """F1 is 2/5, 4/6, 6/10."""
    assert curve([1, 2, 3], [0, 0, 3], 4).best_threshold() == 1


def test_best_from_here_on() -> None:
    assert best_from_here_on(np.array([1.0, 3.0, 2.0])).tolist() == [3, 3, 2]


def test_a_curve_checks_itself() -> None:
    with pytest.raises(InvalidValueError, match=r"Curve.hits"):
        Curve(scores=np.zeros(2), hits=np.zeros(3), false_alarms=np.zeros(2), credit=np.zeros(2), objects=1)
