"""Which candidates become pseudo labels, worked by hand."""

from __future__ import annotations

import pytest
import torch

from server.training.pseudo_labels import PseudoLabelConfig, choose
from shared_models.errors import InvalidValueError
from shared_models.heads.candidates import Candidates


def candidates(rows: list[tuple[float, int, float, float]]) -> Candidates:
    """Boxes of 4 x 2 x 1.5 m at x with (label, class score, box score)."""
    return Candidates(
        boxes=torch.tensor([[x, 0, 0, 4, 2, 1.5, 0] for x, *_ in rows], dtype=torch.float32).reshape(-1, 7),
        labels=torch.tensor([row[1] for row in rows], dtype=torch.int64),
        class_scores=torch.tensor([row[2] for row in rows], dtype=torch.float32),
        box_scores=torch.tensor([row[3] for row in rows], dtype=torch.float32),
    )


def test_both_scores_count_by_class() -> None:
    found = candidates(
        [
            (0, 0, 0.9, 0.51),  # sure
            (10, 0, 0.9, 0.5),  # a car's box score must exceed 0.5
            (20, 1, 0.9, 0.3),  # a pedestrian's 0.25
            (30, 1, 0.4, 0.9),  # class score must exceed 0.4
            (40, 5, 0.5, 0.26),  # classes beyond the list take its last number
        ]
    )
    truth = choose(found, PseudoLabelConfig())
    assert sorted(truth.boxes[:, 0].tolist()) == [0, 20, 40]
    assert not truth.is_exact.any()
    assert not truth.is_ignored.any()


def test_the_better_of_two_overlapping_ones_stays() -> None:
    found = candidates([(0, 0, 0.9, 0.6), (0.5, 0, 0.5, 0.9)])
    assert choose(found, PseudoLabelConfig()).boxes[:, 0].tolist() == [0.5]
    assert choose(found, PseudoLabelConfig(ranking="class")).boxes[:, 0].tolist() == [0]


def test_the_band_of_st3d_is_ignored() -> None:
    found = candidates([(0, 0, 0.01, 0.61), (10, 0, 0.9, 0.59), (20, 0, 0.9, 0.2), (30, 0, 0.9, 0.19)])
    truth = choose(found, PseudoLabelConfig.domain_adaptation())
    by_place = dict(zip(truth.boxes[:, 0].tolist(), truth.is_ignored.tolist(), strict=True))
    assert by_place == {0.0: False, 10.0: True, 20.0: True}


def test_nothing_found() -> None:
    assert len(choose(candidates([]), PseudoLabelConfig())) == 0
    assert len(choose(candidates([(0, 0, 0.1, 0.1)]), PseudoLabelConfig())) == 0


def test_wrong_settings() -> None:
    with pytest.raises(InvalidValueError, match=r"PseudoLabelConfig\.box_score"):
        PseudoLabelConfig(box_score=())
    with pytest.raises(InvalidValueError, match=r"PseudoLabelConfig\.class_score"):
        PseudoLabelConfig(class_score=1.5)
