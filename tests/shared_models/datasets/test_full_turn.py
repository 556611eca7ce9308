from __future__ import annotations

import numpy as np
import pytest

from shared_models.datasets.full_turn import is_full_turn


@pytest.mark.parametrize(("width_deg", "expected"), [(360, True), (280, True), (180, False), (80, False)])
def test_scans_of_different_width(width_deg, expected):
    angle = np.radians(np.linspace(-width_deg / 2, width_deg / 2, 2000))
    assert is_full_turn(np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)) is expected


def test_an_empty_scan():
    assert is_full_turn(np.empty((0, 4), np.float32)) is False
