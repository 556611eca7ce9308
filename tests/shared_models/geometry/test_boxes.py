from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.geometry import boxes as boxes_module
from shared_models.geometry.boxes import (
    corners_3d,
    corners_bev,
    enlarge,
    limit_period,
    points_in_boxes,
    points_in_boxes_mask,
    rotate_points,
)


def _box(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_corners_turn_counter_clockwise() -> None:
    upright = corners_bev(_box(10, 20, 0, 4, 2, 1, 0))[0]
    assert upright.tolist() == [[12, 21], [8, 21], [8, 19], [12, 19]]
    turned = corners_bev(_box(10, 20, 0, 4, 2, 1, math.pi / 2))[0]  # its front now looks to the left, along +y
    torch.testing.assert_close(turned, torch.tensor([[9, 22], [9, 18], [11, 18], [11, 22]], dtype=torch.float64))


def test_corners_3d_are_bottom_then_top() -> None:
    corners = corners_3d(_box(1, 2, 3, 4, 2, 6, 0.3))[0]
    assert corners[:, 2].tolist() == [0, 0, 0, 0, 6, 6, 6, 6]
    flat = corners_bev(_box(1, 2, 3, 4, 2, 6, 0.3))[0]
    torch.testing.assert_close(corners[:4, :2], flat)
    torch.testing.assert_close(corners[4:, :2], flat)


def test_corners_keep_leading_dimensions_and_gradients(random_boxes) -> None:
    boxes = random_boxes(6).double().reshape(2, 3, 7).requires_grad_()
    corners = corners_3d(boxes)
    assert corners.shape == (2, 3, 8, 3)
    torch.testing.assert_close(corners.mean(-2), boxes[..., :3])
    assert torch.autograd.gradcheck(corners_3d, boxes)


def test_rotate_points() -> None:
    points = torch.tensor([[1.0, 0, 5, 0.7], [0, 2, 6, 0.8]])
    expected = torch.tensor([[0.0, 1, 5, 0.7], [-2, 0, 6, 0.8]])
    torch.testing.assert_close(rotate_points(points, math.pi / 2), expected)
    batched = rotate_points(points.expand(3, 2, 4), torch.tensor([0, math.pi / 2, math.pi]))
    torch.testing.assert_close(batched[1], expected)
    torch.testing.assert_close(batched[2], rotate_points(expected, math.pi / 2))


@pytest.mark.parametrize(("offset", "low"), [(0.5, -math.pi), (0.0, 0.0)])
def test_limit_period(offset: float, low: float) -> None:
    angle = torch.linspace(-20, 20, 1001, dtype=torch.float64)
    limited = limit_period(angle, offset, 2 * math.pi)
    assert bool(((limited >= low - 1e-12) & (limited < low + 2 * math.pi + 1e-12)).all())
    turns = (limited - angle) / (2 * math.pi)
    torch.testing.assert_close(turns, turns.round())


def test_enlarge_adds_to_the_full_sizes() -> None:
    before = _box(1, 2, 3, 4, 2, 1, 0.5)
    assert enlarge(before, (0.2, 0.4, 0.6))[0].tolist() == pytest.approx([1, 2, 3, 4.2, 2.4, 1.6, 0.5])
    assert before[0, 3] == 4


def _slow_mask(points: Tensor, boxes: Tensor) -> list[list[bool]]:
    def inside(point: list[float], box: list[float]) -> bool:
        dx, dy, dz = (point[k] - box[k] for k in range(3))
        along = dx * math.cos(box[6]) + dy * math.sin(box[6])
        across = -dx * math.sin(box[6]) + dy * math.cos(box[6])
        return abs(along) <= box[3] / 2 and abs(across) <= box[4] / 2 and abs(dz) <= box[5] / 2

    return [[inside(p, b) for b in boxes.tolist()] for p in points.tolist()]


def test_points_in_boxes_equals_the_slow_loop(random_boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes_module, "_PAIRS_AT_ONCE", 100)  # several steps
    boxes = random_boxes(12, 1).double()
    points = torch.rand((200, 4), generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 10 - 5
    points[:, 2] /= 5
    expected = _slow_mask(points[:, :3], boxes)
    assert points_in_boxes_mask(points, boxes).tolist() == expected
    first = [row.index(True) if True in row else -1 for row in expected]
    assert points_in_boxes(points, boxes).tolist() == first
    assert sum(i >= 0 for i in first) > 20
    assert max(map(sum, expected)) > 1


def test_faces_belong_to_the_box() -> None:
    points = torch.tensor([[2.0, 1, 0.5], [-2, -1, -0.5], [2.001, 0, 0], [0, 1.001, 0], [0, 0, 0.501]])
    box = torch.tensor([[0.0, 0, 0, 4, 2, 1, 0]])
    assert points_in_boxes(points, box).tolist() == [0, 0, -1, -1, -1]


@pytest.mark.parametrize(("count", "number"), [(0, 3), (5, 0), (0, 0)])
def test_empty_input(count: int, number: int, random_boxes) -> None:
    points, boxes = torch.zeros(count, 3), random_boxes(number)
    assert points_in_boxes_mask(points, boxes).shape == (count, number)
    assert points_in_boxes(points, boxes).tolist() == ([-1] * count if number == 0 else [])
    assert corners_3d(boxes).shape == (number, 8, 3)


def test_wrong_boxes_are_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"corners_bev: .* got torch.float32 of shape \(2, 9\)"):
        corners_bev(torch.zeros(2, 9))
    with pytest.raises(InvalidValueError, match="int64"):
        points_in_boxes(torch.zeros(1, 3), torch.zeros((1, 7), dtype=torch.int64))
