from __future__ import annotations

import pytest
import torch

from shared_models.sets import neighbourhoods
from shared_models.sets.neighbourhoods import Neighbourhoods, find_neighbourhoods
from shared_models.sets.pooling import pool, product


def make_case(seed: int = 0) -> tuple[list[torch.Tensor], Neighbourhoods]:
    torch.manual_seed(seed)
    centres, points = torch.rand(7, 3) * 1.5, torch.rand(9, 3)
    centres[0], centres[1] = points.mean(0), points[4]  # many near the first, one near the second
    points[4] += 0.55
    near = find_neighbourhoods([centres], [points], 0.6, 4)
    offsets = points[near.points] - centres[near.centres]
    case = [torch.randn(9, 3), offsets, torch.randn(3, 3), torch.randn(2, 3)]
    return [part.double().requires_grad_() for part in case], near


def run(near: Neighbourhoods, *case: torch.Tensor) -> tuple[torch.Tensor, ...]:
    pooled, moments = pool(*case, near, torch.float64)
    return pooled, moments.sums, moments.squares


@pytest.mark.parametrize("at_once", [2, 8192])
def test_gradients(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbourhoods, "ROWS_AT_ONCE", at_once)
    case, near = make_case()
    assert near.is_empty.any()
    assert {tile.size for tile in near.tiles} >= {1, 2, 4}
    assert torch.autograd.gradcheck(lambda *inputs: run(near, *inputs), case)


def test_equals_the_definition() -> None:
    (projected, offsets, direction, weight), near = make_case()
    pooled, moments = pool(projected, offsets, direction, weight, near, torch.float64)
    rows = torch.relu(projected[near.points] + offsets @ direction.t()) @ weight.t()
    weights = near.weights()[:, None]
    for centre in range(7):
        own = rows[near.centres == centre]
        expected = own.amax(0) if len(own) else torch.zeros(2, dtype=torch.float64)
        torch.testing.assert_close(pooled[centre], expected)
    torch.testing.assert_close(moments.sums, (weights * rows).sum(0))
    torch.testing.assert_close(moments.squares, (weights * rows**2).sum(0))
    assert moments.count == weights.sum() == 4 * (~near.is_empty).sum()


def test_equal_rows_share_a_gradient_by_their_repetitions() -> None:
    # Two equal points around one centre; of four rows, the ball query fills three with the first.
    points = torch.zeros(2, 3)
    near = find_neighbourhoods([torch.zeros(1, 3)], [points], 1.0, 4)
    projected = torch.ones(2, 1, requires_grad=True)
    pooled, _ = pool(projected, torch.zeros(2, 3), torch.ones(1, 3), torch.ones(1, 1), near, torch.float32)
    pooled.sum().backward()
    assert projected.grad is not None
    assert projected.grad.flatten().tolist() == [0.75, 0.25]


def test_a_small_variance_far_from_zero_survives() -> None:
    torch.manual_seed(0)
    centres, points = torch.rand(300, 3), torch.rand(500, 3)
    near = find_neighbourhoods([centres], [points], 0.3, 16)
    projected = 100 + 0.01 * torch.randn(500, 1)
    offsets = torch.zeros(len(near.points), 3)
    _, moments = pool(projected, offsets, torch.zeros(1, 3), torch.ones(1, 1), near, torch.float32)
    exact, weights = projected[near.points].double(), near.weights()[:, None]
    mean = (weights * exact).sum() / weights.sum()
    expected = (weights * (exact - mean) ** 2).sum() / weights.sum()
    found = moments.squares / moments.count - (moments.sums / moments.count) ** 2
    assert float(found) == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("rows", [0, 1, 9, 27, 63, 64, 100])
def test_products_have_the_same_bits_for_any_number_of_threads(rows: int) -> None:
    torch.manual_seed(0)
    left, weight = torch.randn(rows, 64), torch.randn(32, 64)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 8):
            torch.set_num_threads(threads)
            found.append(product(left, weight))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found[0], left @ weight.t())
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
