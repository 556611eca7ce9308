from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.geometry import iou as iou_module
from shared_models.geometry.boxes import rotate_points
from shared_models.geometry.iou import iou_3d, iou_3d_aligned, iou_axis_aligned_nearest, iou_bev, iou_bev_aligned

PROPERTY = settings(max_examples=100, deadline=None, derandomize=True)


def test_values_worked_out_by_hand() -> None:
    square = torch.tensor([[0.0, 0, 0, 1, 1, 1, 0]])
    others = torch.tensor(
        [
            [0, 0, 0, 1, 1, 1, math.pi / 4],
            [0, 0, 0, 1, 1, 1, 0],
            [0.5, 0, 0.5, 1, 1, 1, 0],
            [0, 0, 1, 1, 1, 1, 0],
            [0, 0, 0, 2, 2, 2, 0],
        ]
    )
    octagon = 2 * math.sqrt(2) - 2
    turned = octagon / (2 - octagon)
    torch.testing.assert_close(iou_bev(square, others), torch.tensor([[turned, 1, 1 / 3, 1, 1 / 4]]))
    torch.testing.assert_close(iou_3d(square, others), torch.tensor([[turned, 1, 1 / 7, 0, 1 / 8]]))


@pytest.mark.parametrize("in_space", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_polygon_clipping(in_space: bool, dtype: torch.dtype, random_boxes, slow_iou) -> None:
    a, b = random_boxes(30, 1).to(dtype), random_boxes(40, 2).to(dtype)
    expected = slow_iou(a, b, in_space)
    fast = (iou_3d if in_space else iou_bev)(a, b)
    assert fast.dtype == dtype
    torch.testing.assert_close(fast.double(), expected, atol=1e-7 if dtype == torch.float32 else 1e-13, rtol=0)
    assert (expected > 0).sum() > 150
    aligned = (iou_3d_aligned if in_space else iou_bev_aligned)(a, b[:30])
    assert torch.equal(aligned, fast[:, :30].diagonal())


@st.composite
def _box(draw: st.DrawFn) -> list[float]:
    # Multiples of 1/8 make equal, touching and parallel edges frequent.
    place, size, eighth = st.integers(-16, 16), st.integers(0, 32), st.integers(-16, 16)
    x, y, z = (draw(place) / 8 for _ in range(3))
    length, width, height = (draw(size) / 8 for _ in range(3))
    yaw = draw(st.one_of(eighth.map(lambda k: k * math.pi / 8), st.floats(-10, 10)))
    return [x, y, z, length, width, height, yaw]


_BOXES = st.lists(_box(), min_size=1, max_size=6).map(lambda rows: torch.tensor(rows, dtype=torch.float64))


@PROPERTY
@given(_BOXES, _BOXES)
def test_lies_between_0_and_1_and_is_symmetric(a: Tensor, b: Tensor) -> None:
    for iou in (iou_bev, iou_3d):
        values = iou(a, b)
        assert bool(((values >= 0) & (values <= 1)).all())
        torch.testing.assert_close(values, iou(b, a).t(), atol=1e-9, rtol=0)
        own = iou(a, a).diagonal()
        solid = a[:, 3 : 5 if iou is iou_bev else 6].prod(1) > 0
        torch.testing.assert_close(own, solid.double(), atol=1e-12, rtol=0)


@PROPERTY
@given(_BOXES, _BOXES, st.floats(-7, 7), st.floats(-100, 100), st.floats(-100, 100))
def test_moving_both_changes_nothing(a: Tensor, b: Tensor, turn: float, x: float, y: float) -> None:
    def moved(boxes: Tensor) -> Tensor:
        boxes = rotate_points(boxes, turn) + boxes.new_tensor([x, y, 0, 0, 0, 0, 0])
        boxes[:, 6] += turn
        return boxes

    torch.testing.assert_close(iou_bev(moved(a), moved(b)), iou_bev(a, b), atol=1e-9, rtol=0)


@PROPERTY
@given(_BOXES, _BOXES)
def test_front_and_rear_are_alike(a: Tensor, b: Tensor) -> None:
    half_turn = a + a.new_tensor([0, 0, 0, 0, 0, 0, math.pi])
    torch.testing.assert_close(iou_bev(half_turn, b), iou_bev(a, b), atol=1e-9, rtol=0)
    quarter = a[:, (0, 1, 2, 4, 3, 5, 6)] + a.new_tensor([0, 0, 0, 0, 0, 0, math.pi / 2])
    torch.testing.assert_close(iou_3d(quarter, b), iou_3d(a, b), atol=1e-9, rtol=0)


@PROPERTY
@given(_BOXES, _BOXES)
def test_every_pair_equals_polygon_clipping(slow_iou, a: Tensor, b: Tensor) -> None:
    solid = [boxes + boxes.new_tensor([0, 0, 0, 0.125, 0.125, 0.125, 0]) for boxes in (a, b)]  # clipping needs an area
    torch.testing.assert_close(iou_bev(*solid), slow_iou(*solid, False), atol=1e-9, rtol=0)


def test_no_gradient_flows(random_boxes) -> None:
    a = random_boxes(3).requires_grad_()
    assert not iou_bev(a, a).requires_grad
    assert not iou_3d_aligned(a, a).requires_grad
    assert not iou_axis_aligned_nearest(a, a).requires_grad


def _slow_nearest(a: list[float], b: list[float]) -> float:
    def rectangle(box: list[float]) -> tuple[float, float, float, float]:
        x, y, _, length, width, _, yaw = box
        if abs(math.cos(yaw)) < abs(math.sin(yaw)):
            length, width = width, length
        return x - length / 2, y - width / 2, x + length / 2, y + width / 2

    p, q = rectangle(a), rectangle(b)
    shared = max(0.0, min(p[2], q[2]) - max(p[0], q[0])) * max(0.0, min(p[3], q[3]) - max(p[1], q[1]))
    return shared / (a[3] * a[4] + b[3] * b[4] - shared)


def test_nearest_equals_the_slow_loop(random_boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iou_module, "_NEAREST_AT_ONCE", 64)  # several steps
    a, b = random_boxes(50, 3), random_boxes(7, 4)
    expected = torch.tensor([[_slow_nearest(p, q) for q in b.tolist()] for p in a.tolist()])
    torch.testing.assert_close(iou_axis_aligned_nearest(a, b), expected)
    assert torch.equal(iou_axis_aligned_nearest(b, a), iou_axis_aligned_nearest(a, b).t())


def test_nearest_turns_to_right_angles() -> None:
    anchor = torch.tensor([[0.0, 0, 0, 4, 2, 1, 0]])
    yaws = torch.tensor([0, 0.7, 0.8, math.pi / 2, 2.3, 2.4, math.pi, -0.7, -0.8, 7.0])
    boxes = anchor.repeat(len(yaws), 1)
    boxes[:, 6] = yaws
    along, across = 1.0, 4 / 12
    expected = [along, along, across, across, across, along, along, along, across, along]
    assert iou_axis_aligned_nearest(anchor, boxes)[0].tolist() == pytest.approx(expected)


@pytest.mark.data
def test_nearest_assigns_the_golden_anchors(golden_root) -> None:
    import numpy as np

    golden = np.load(golden_root / "second_iou_kitti" / "targets.npz")
    anchors, truth = _kitti_anchors(), torch.from_numpy(golden["gt_boxes"])
    classes = torch.from_numpy(golden["gt_classes"])
    state = torch.zeros(anchors.shape[:2], dtype=torch.int64)
    for name, (positive, negative) in enumerate([(0.6, 0.45), (0.5, 0.35), (0.5, 0.35)], start=1):
        iou = iou_axis_aligned_nearest(anchors[:, 2 * name - 2 : 2 * name].reshape(-1, 7), truth[classes == name])
        best = iou.amax(0)
        chosen = (iou.amax(1) >= positive) | ((iou == best) & (best > 0)).any(1)
        between = (iou.amax(1) >= negative) & ~chosen
        state[:, 2 * name - 2 : 2 * name] = (chosen.long() - between.long()).reshape(-1, 2)
    assert anchors.shape[0] * 6 == golden["num_anchors"]
    assert (state.flatten() == 1).nonzero().flatten().tolist() == golden["positive_index"].tolist()
    assert (state.flatten() == -1).nonzero().flatten().tolist() == golden["ignored_index"].tolist()


def _kitti_anchors() -> Tensor:
    """(200 * 176, 6, 7): for each cell by rows, car, pedestrian and cyclist at 0 and 1.57."""
    y, x = torch.meshgrid(torch.linspace(-40, 40, 200), torch.linspace(0, 70.4, 176), indexing="ij")
    kinds = [((3.9, 1.6, 1.56), -1.78), ((0.8, 0.6, 1.73), -0.6), ((1.76, 0.6, 1.73), -0.6)]
    rows = [(0, 0, bottom + size[2] / 2, *size, yaw) for size, bottom in kinds for yaw in (0, 1.57)]
    anchors = torch.tensor(rows).repeat(x.numel(), 1, 1)
    anchors[..., 0], anchors[..., 1] = x.reshape(-1, 1), y.reshape(-1, 1)
    return anchors


@pytest.mark.parametrize("function", [iou_bev, iou_3d, iou_axis_aligned_nearest])
@pytest.mark.parametrize(("m", "n"), [(0, 0), (0, 3), (3, 0)])
def test_empty_input(function: Callable[[Tensor, Tensor], Tensor], m: int, n: int, random_boxes) -> None:
    assert function(random_boxes(m), random_boxes(n)).shape == (m, n)
    assert iou_bev_aligned(random_boxes(0), random_boxes(0)).shape == (0,)


def test_wrong_input_is_refused(random_boxes) -> None:
    with pytest.raises(InvalidValueError, match=r"iou_bev.b: expected .* \(3, 5\)"):
        iou_bev(random_boxes(2), torch.zeros(3, 5))
    with pytest.raises(InvalidValueError, match=r"iou_3d.a: expected boxes \(M, 7\), got shape \(7,\)"):
        iou_3d(random_boxes(1)[0], random_boxes(2))
    with pytest.raises(InvalidValueError, match="as many boxes in a as in b, got 1 and 2"):
        iou_bev_aligned(random_boxes(1), random_boxes(2))
