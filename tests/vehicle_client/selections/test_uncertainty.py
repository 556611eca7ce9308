from __future__ import annotations

import pytest
import torch

from shared_models.errors import ConfigError, InvalidValueError
from tests.candidates import make_candidate
from vehicle_client.selections import build
from vehicle_client.selections.uncertainty import mean_entropy


@pytest.mark.parametrize(
    ("scores", "bits"),
    [
        ((), 0.0),
        ((0.5,), 1.0),
        ((0.0, 1.0), 0.0),
        ((0.25,), 2 - 0.75 * 1.584962500721156),  # -1/4 log2 1/4 - 3/4 log2 3/4 = 1/2 + 3/4 (2 - log2 3)
        ((0.5, 1.0), 0.5),
    ],
)
def test_entropy_by_hand(scores, bits):
    assert mean_entropy(torch.tensor(scores)) == pytest.approx(bits, abs=1e-7)


def test_entropy_of_the_boxes_above_the_floor_decides():
    selection = build("uncertainty", {"threshold": 0.9, "low": 0.2})
    unsure = selection.judge(make_candidate(scores=(0.5, 0.45, 0.01, 0.02)))
    assert unsure.is_selected
    assert unsure.score == pytest.approx(mean_entropy(torch.tensor([0.5, 0.45])))
    assert not selection.judge(make_candidate(scores=(0.99, 0.98))).is_selected
    assert selection.judge(make_candidate(scores=())).score == 0.0


def test_boxes_in_the_middle_are_counted():
    selection = build("uncertainty", {"measure": "boxes", "boxes": 2, "low": 0.25, "high": 0.75})
    verdicts = [
        selection.judge(make_candidate(scores=s)) for s in ((0.25, 0.75, 0.9), (0.5, 0.8), (0.5, 0.5, 0.5, 0.5))
    ]
    assert [verdict.is_selected for verdict in verdicts] == [True, False, True]
    assert [verdict.score for verdict in verdicts] == pytest.approx([2 / 4, 1 / 3, 4 / 6])


def test_it_needs_detections():
    selection = build("uncertainty")
    assert selection.needed() == {"detections"}
    with pytest.raises(InvalidValueError, match="frame 000000: uncertainty needs the vehicle's own detections"):
        selection.judge(make_candidate(scores=None))


def test_a_band_the_wrong_way_round():
    with pytest.raises(ConfigError, match="low <= high"):
        build("uncertainty", {"low": 0.8, "high": 0.2})
