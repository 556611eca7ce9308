from __future__ import annotations

import math

import torch

from shared_models.heads.roi_grid_head import RoiGridConfig, RoiGridHead
from shared_models.sets.set_abstraction import GroupingConfig

CONFIG = RoiGridConfig(
    grid_size=2,
    grouping=GroupingConfig(radii_m=(0.8,), neighbours=(4,), widths=((8, 8),)),
    widths=(16, 16),
)


def make_head() -> RoiGridHead:
    torch.manual_seed(0)
    return RoiGridHead(6, CONFIG).eval()


def test_grid_points_lie_in_the_box_x_slowest() -> None:
    box = torch.tensor([[10.0, 2.0, 1.0, 4.0, 2.0, 1.0, math.pi / 2]])
    points = make_head().grid_points(box)[0]
    # Turned by 90 degrees: the box's length runs along y, its width along -x.
    assert points.shape == (8, 3)
    torch.testing.assert_close(points[0], torch.tensor([10.5, 1.0, 0.75]))
    torch.testing.assert_close(points[1], torch.tensor([10.5, 1.0, 1.25]))
    torch.testing.assert_close(points[2], torch.tensor([9.5, 1.0, 0.75]))
    torch.testing.assert_close(points[4], torch.tensor([10.5, 3.0, 0.75]))


def test_zero_codes_leave_the_proposal_where_it_is() -> None:
    head = make_head()
    with torch.no_grad():
        for parameter in head.reg_layers[-1].parameters():
            parameter.zero_()
    boxes = torch.tensor([[10.0, 2.0, 1.0, 4.0, 2.0, 1.0, 0.7], [3.0, -2.0, 0.0, 1.0, 1.0, 2.0, -2.0]])
    (refined,) = head([boxes], [torch.randn(50, 3) * 5], [torch.randn(50, 6)])
    torch.testing.assert_close(refined.boxes, boxes)
    assert refined.logits.shape == (2,)


def test_empty_neighbourhoods_and_empty_inputs() -> None:
    head = make_head()
    far = torch.full((5, 3), 1000.0)
    boxes = torch.tensor([[10.0, 2.0, 1.0, 4.0, 2.0, 1.0, 0.7]])
    with torch.no_grad():
        assert torch.isfinite(head([boxes], [far], [torch.randn(5, 6)])[0].logits).all()
        assert torch.isfinite(head([boxes], [torch.zeros(0, 3)], [torch.zeros(0, 6)])[0].logits).all()
        assert len(head([torch.zeros(0, 7)], [far], [torch.randn(5, 6)])[0].logits) == 0


def test_a_batch_gives_what_its_scans_give_alone() -> None:
    head = make_head()
    boxes = [torch.rand(3, 7) * 3 + 1, torch.zeros(0, 7), torch.rand(2, 7) * 3 + 1]
    keypoints, features = [torch.rand(40, 3) * 5 for _ in boxes], [torch.randn(40, 6) for _ in boxes]
    with torch.no_grad():
        together = head(boxes, keypoints, features)
        for number, scan in enumerate(zip(boxes, keypoints, features, strict=True)):
            (alone,) = head(*([part] for part in scan))
            torch.testing.assert_close(together[number].logits, alone.logits)
            torch.testing.assert_close(together[number].boxes, alone.boxes)
