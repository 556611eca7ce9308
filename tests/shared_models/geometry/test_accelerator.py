"""The same results on a GPU as on the CPU."""

from __future__ import annotations

import pytest
import torch

from shared_models.geometry.boxes import points_in_boxes
from shared_models.geometry.interpolation import interpolate_bev
from shared_models.geometry.iou import iou_3d, iou_axis_aligned_nearest, iou_bev
from shared_models.geometry.neighbours import ball_query
from shared_models.geometry.nms import nms_bev
from shared_models.geometry.sampling import farthest_point_sampling

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_overlaps(random_boxes) -> None:
    a, b = random_boxes(300, 1, 40.0), random_boxes(200, 2, 40.0)
    for function in (iou_bev, iou_3d, iou_axis_aligned_nearest):
        torch.testing.assert_close(function(a.cuda(), b.cuda()).cpu(), function(a, b), atol=1e-6, rtol=0)


def test_suppression(random_boxes) -> None:
    boxes, scores = random_boxes(3000, 3, 40.0), torch.rand(3000, generator=torch.Generator().manual_seed(4))
    assert torch.equal(
        nms_bev(boxes.cuda(), scores.cuda(), 0.3, 2500, 300).cpu(), nms_bev(boxes, scores, 0.3, 2500, 300)
    )


def test_points(random_boxes) -> None:
    points = torch.randn((5000, 3), generator=torch.Generator().manual_seed(5)) * torch.tensor([10.0, 10.0, 1.0])
    chosen = farthest_point_sampling(points, 256)
    assert torch.equal(farthest_point_sampling(points.cuda(), 256).cpu(), chosen)
    quick, plain = (
        ball_query(points[chosen].cuda(), points.cuda(), 1.2, 16),
        ball_query(points[chosen], points, 1.2, 16),
    )
    assert torch.equal(quick[0].cpu(), plain[0])
    assert torch.equal(quick[1].cpu(), plain[1])
    boxes = random_boxes(30, 6)
    agree = points_in_boxes(points.cuda(), boxes.cuda()).cpu() == points_in_boxes(points, boxes)
    assert agree.float().mean() > 0.999  # a point on a face may fall to either side


def test_interpolation() -> None:
    features, xy = torch.rand(8, 20, 30), torch.rand(100, 2) * 25
    torch.testing.assert_close(interpolate_bev(features.cuda(), xy.cuda()).cpu(), interpolate_bev(features, xy))
