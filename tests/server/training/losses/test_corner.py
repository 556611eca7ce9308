from __future__ import annotations

import math

import pytest
import torch

from server.training.losses.corner import corner_loss

FIELDS = ("x", "y", "z", "length", "width", "height", "yaw")
TRUTH = torch.tensor([[10.0, 2.0, -1.0, 4.0, 2.0, 1.5, 0.3]])


def moved(**changes: float) -> torch.Tensor:
    box = TRUTH.clone()
    for name, change in changes.items():
        box[0, FIELDS.index(name)] += change
    return box


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0.0),
        ({"yaw": math.pi}, 0.0),  # facing the other way costs nothing
        ({"x": 0.5}, 0.125),  # each corner 0.5 m off: 0.5^2 / 2
        ({"z": 2.0}, 1.5),  # 2 m off: 2 - 1/2
        ({"height": 0.6}, 0.045),  # each corner 0.3 m off
        ({"x": 0.3, "y": 0.4, "yaw": math.pi}, 0.125),
    ],
)
def test_values_by_hand(changes: dict[str, float], expected: float) -> None:
    assert corner_loss(moved(**changes), TRUTH).tolist() == pytest.approx([expected], abs=1e-5)


def test_a_quarter_turn_is_measured_corner_by_corner() -> None:
    # In the box's frame corner (2, 1) goes to (-1, 2), sqrt(10) away; from (-2, -1), that corner of the box facing the
    # other way, it is as far, and so is every other corner.
    assert corner_loss(moved(yaw=math.pi / 2), TRUTH).tolist() == pytest.approx([math.sqrt(10) - 0.5], abs=1e-5)


def test_gradient_also_where_boxes_agree() -> None:
    boxes = torch.cat((moved(x=0.2, y=-0.1, yaw=0.2), moved(z=2.5, length=0.4))).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: corner_loss(x, TRUTH.double().expand(2, 7)), boxes)
    same = TRUTH.clone().requires_grad_()
    corner_loss(same, TRUTH).sum().backward()
    assert torch.isfinite(same.grad).all()
    assert corner_loss(torch.zeros(0, 7), torch.zeros(0, 7)).shape == (0,)
