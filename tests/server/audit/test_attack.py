"""What an attack may give back."""

from __future__ import annotations

import numpy as np
import pytest

from server.audit.attack import Reconstruction
from shared_models.errors import InvalidValueError

POINTS = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": np.zeros((2, 5), np.float32)},
        {"points": np.zeros(3, np.float32)},
        {"points": np.zeros((2, 3))},
        {"points": np.full((1, 3), np.nan, np.float32)},
        {"points": POINTS, "confidence": np.zeros(3, np.float32)},
        {"points": POINTS, "cells": np.zeros((1, 3), np.int64)},
        {"points": POINTS, "cells": np.zeros((1, 2), np.int64), "cell_size_m": (1.0, 1.0, 1.0)},
    ],
)
def test_malformed_reconstructions_are_refused(wrong: dict) -> None:
    with pytest.raises(InvalidValueError, match="Reconstruction"):
        Reconstruction(**wrong)


def test_empty_and_intensity_are_valid() -> None:
    assert len(Reconstruction(points=np.zeros((0, 4), np.float32)).points) == 0
