from __future__ import annotations

import base64

import numpy as np
import pytest
import torch

from shared_models.errors import InvalidValueError
from shared_models.records import GridFeatures
from tests.candidates import make_candidate
from vehicle_client.selections import build
from vehicle_client.selections.novelty import relative_distances, statistics


def test_statistics_by_hand():
    grid = GridFeatures(
        coords=torch.tensor([[0, 0, 0], [0, 0, 1]], dtype=torch.int32),
        features=torch.tensor([[1.0, 4.0], [3.0, 4.0]]),
        shape=(1, 1, 2),
    )
    assert statistics(grid).tolist() == [2.0, 4.0, 1.0, 0.0]


def test_distances_by_hand():
    rows = np.array([[3, 4], [-3, -4], [0, 0], [6, 8]], np.float32)
    assert relative_distances(np.array([3, 4], np.float32), rows).tolist() == pytest.approx([0, 1, 1, 1 / 3])
    assert relative_distances(np.zeros(2, np.float32), rows[2:3]).tolist() == [0.0]


def test_what_was_sent_is_not_new_and_what_was_not_sent_stays_new():
    selection = build("novelty", {"threshold": 0.2})
    first, other = make_candidate(0, values=1.0), make_candidate(1, values=3.0)
    assert selection.judge(first).score == 1.0
    selection.accept(first)
    assert selection.judge(first).score == 0.0
    assert selection.judge(other).score == pytest.approx(0.5)  # |3 - 1| / (3 + 1)
    assert selection.judge(other).is_selected
    selection.accept(other)
    assert not selection.judge(other).is_selected
    assert not selection.judge(first).is_selected


def test_another_backbone_begins_anew():
    selection = build("novelty")
    selection.accept(make_candidate(0, values=1.0))
    assert selection.judge(make_candidate(0, values=1.0, backbone_hash="cd" * 32)).score == 1.0
    selection.accept(make_candidate(0, values=1.0, backbone_hash="cd" * 32, channels=7))
    assert selection.judge(make_candidate(0, values=1.0, backbone_hash="cd" * 32, channels=7)).score == 0.0
    assert selection.judge(make_candidate(0, values=1.0)).score == 1.0


def test_an_even_sample_is_remembered():
    """Each of 200 frames is kept as often as another: 40 of 200 over many seeds, so a fifth of each tenth."""
    kept = np.zeros(10)
    for seed in range(15):
        selection = build("novelty", {"remembered": 40, "seed": seed})
        for number in range(200):
            selection.accept(make_candidate(0, cells=1, channels=1, values=float(number)))
        rows = np.frombuffer(base64.b64decode(selection.state()["kept"]), "<f4").reshape(40, 2)
        kept += np.histogram(rows[:, 0], bins=10, range=(0, 200))[0]
    assert kept.sum() == 600
    assert kept.min() > 36  # expected 60, standard deviation about 7
    assert kept.max() < 84


@pytest.mark.parametrize("kept", ["???", "AAAA", base64.b64encode(np.full(2, np.nan, "<f4").tobytes()).decode(), 3])
def test_a_damaged_memory_is_refused(kept):
    with pytest.raises(InvalidValueError, match="novelty"):
        build("novelty").restore({"sent": 1, "channels": 2, "kept": kept, "backbone_hash": "ab" * 32})
