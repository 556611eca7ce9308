from __future__ import annotations

import pytest
import torch

from shared_models.geometry.neighbours import ball_query
from shared_models.sets import neighbourhoods
from shared_models.sets.neighbourhoods import find_neighbourhoods


@pytest.mark.parametrize("at_once", [1, 8, 8192])
def test_pairs_and_weights_are_those_of_the_ball_query(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbourhoods, "ROWS_AT_ONCE", at_once)
    torch.manual_seed(0)
    sizes = ((20, 30), (5, 0), (0, 4), (20, 60))
    centres, points = [torch.rand(k, 3) * 3 for k, _ in sizes], [torch.rand(n, 3) * 2 for _, n in sizes]
    expected: dict[tuple[int, int], int] = {}
    empty: list[bool] = []
    before = 0
    for own, near in zip(centres, points, strict=True):
        indices, is_empty = ball_query(own, near, 0.6, 6)
        for row, lonely in zip(indices.tolist(), is_empty.tolist(), strict=True):
            for index in [] if lonely else row:
                key = (len(empty), index + before)
                expected[key] = expected.get(key, 0) + 1
            empty.append(lonely)
        before += len(near)
    found = find_neighbourhoods(centres, points, 0.6, 6)
    pairs = list(zip(found.centres.tolist(), found.points.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert dict(zip(pairs, found.weights().tolist(), strict=True)) == expected
    assert found.is_empty.tolist() == empty
    assert any(empty)
    assert not all(empty)


def test_tiles_cover_all_pairs_neighbour_by_neighbour() -> None:
    torch.manual_seed(0)
    found = find_neighbourhoods([torch.rand(50, 3)], [torch.rand(40, 3)], 0.3, 8)
    upto = 0
    for tile in found.tiles:
        assert tile.rows.start == upto
        upto = tile.rows.stop
        assert torch.equal(found.centres[tile.rows].view(tile.size, -1), tile.centres.expand(tile.size, -1))
        assert tile.size + tile.repeats == 8
    assert upto == len(found.points)
