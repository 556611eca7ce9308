from __future__ import annotations

import math

import pytest
import torch

from shared_models.heads.iou_head import IouHead, IouHeadConfig


def make_head(pooling: str, grid_size: int = 3) -> IouHead:
    config = IouHeadConfig(grid_size=grid_size, widths=(8, 8), pooling=pooling)
    return IouHead(2, config, cell_m=(0.5, 0.5), low_m=(0.0, -5.0)).eval()


def coordinate_map() -> torch.Tensor:
    """(2, 21, 31): each cell holds its own x and y in metres, as the pooling counts cells (corner to corner)."""
    y, x = torch.meshgrid(torch.arange(21.0) * 0.5 - 5, torch.arange(31.0) * 0.5, indexing="ij")
    return torch.stack((x, y))


@pytest.mark.parametrize("yaw", [0.0, 0.3, math.pi / 2, 2.5])
def test_rotated_pooling_samples_the_box_as_it_lies(yaw: float) -> None:
    box = torch.tensor([[7.0, 0.5, 0.0, 4.0, 2.0, 1.5, yaw]])
    pooled = make_head("rotated")._pool(coordinate_map(), box)[0]
    for row, across in enumerate((-1.0, 0.0, 1.0)):
        for column, along in enumerate((-1.0, 0.0, 1.0)):
            x = 7.0 + along * 2.0 * math.cos(yaw) - across * 1.0 * math.sin(yaw)
            y = 0.5 + along * 2.0 * math.sin(yaw) + across * 1.0 * math.cos(yaw)
            torch.testing.assert_close(pooled[:, row, column], torch.tensor([x, y]), atol=1e-4, rtol=0)


def test_upstream_pooling_is_the_same_only_for_unturned_boxes() -> None:
    straight = torch.tensor([[7.0, 0.5, 0.0, 4.0, 2.0, 1.5, 0.0]])
    turned = torch.tensor([[7.0, 0.5, 0.0, 4.0, 2.0, 1.5, math.pi / 2]])
    bev = coordinate_map()
    right, upstream = make_head("rotated"), make_head("openpcdet")
    torch.testing.assert_close(right._pool(bev, straight), upstream._pool(bev, straight))
    # Upstream pools a box turned by 90 degrees over an unturned length x width window.
    window = upstream._pool(bev, turned)[0]
    assert float(window[0].max() - window[0].min()) == pytest.approx(4.0, abs=1e-4)
    assert float(window[1].max() - window[1].min()) == pytest.approx(2.0, abs=1e-4)


def test_gives_no_gradient_to_what_it_looks_at() -> None:
    head = make_head("rotated")
    bev = coordinate_map().requires_grad_()
    boxes = torch.tensor([[7.0, 0.5, 0.0, 4.0, 2.0, 1.5, 0.3]], requires_grad=True)
    head(bev[None], [boxes])[0].sum().backward()
    assert bev.grad is None
    assert boxes.grad is None


def test_no_proposals() -> None:
    assert make_head("rotated")(coordinate_map()[None], [torch.zeros(0, 7)])[0].shape == (0,)


@pytest.mark.parametrize("counts", [(3, 0, 2), (0, 0), (1, 4)])
def test_a_batch_gives_what_its_scans_give_alone(counts: tuple[int, ...]) -> None:
    head = make_head("rotated")
    maps = torch.randn(len(counts), 2, 21, 31)
    boxes = [torch.rand(count, 7) * 3 + 1 for count in counts]
    together = head(maps, boxes)
    for number, scan in enumerate(boxes):
        torch.testing.assert_close(together[number], head(maps[number : number + 1], [scan])[0])


def test_batch_norm_sees_all_scans_in_training() -> None:
    head = make_head("rotated").train()
    logits = head(torch.randn(2, 2, 21, 31), [torch.rand(1, 7) + 1, torch.rand(1, 7) + 1])
    assert [len(scan) for scan in logits] == [1, 1]  # one box alone has no variance, two have
