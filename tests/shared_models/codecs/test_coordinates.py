from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared_models.codecs import coordinates
from shared_models.errors import PayloadError


def test_steps_worked_out_by_hand() -> None:
    width, steps = coordinates.pack(torch.tensor([0, 1, 5, 300]))
    assert width == 2
    # 0 and 1 follow without a gap, three empty cells before 5, 294 = 0x126 before 300: low bytes, then high bytes.
    assert steps == bytes([0, 0, 3, 0x26, 0, 0, 0, 1])


@settings(max_examples=200, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 400), st.integers(1, 400)),
    places=st.sets(st.floats(0, 1, exclude_max=True), max_size=50),
)
def test_cells_come_back(shape: tuple[int, int, int], places: set[float]) -> None:
    depth, height, width = shape
    keys = torch.tensor(sorted({int(p * depth * height * width) for p in places}), dtype=torch.int64)
    size, steps = coordinates.pack(keys)
    cells, used = coordinates.unpack(memoryview(steps), len(keys), size, shape)
    assert used == len(steps)
    assert cells.dtype == torch.int32
    expected = [[k // (height * width), k // width % height, k % width] for k in keys.tolist()]
    assert cells.tolist() == expected


@pytest.mark.parametrize(
    ("steps", "count", "width", "message"),
    [
        (b"\0", 2, 1, "2 bytes of coordinates expected, 1 left"),
        (bytes([9, 10]), 2, 1, "cell number 20 lies outside"),
        (bytes([9, 1, 0, 0]), 2, 2, "2 bytes, 1 would do"),
        (b"\xff" * 16, 4, 4, "outside the map"),
    ],
)
def test_bad_steps_are_refused(steps: bytes, count: int, width: int, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        coordinates.unpack(memoryview(steps), count, width, (1, 4, 5))
