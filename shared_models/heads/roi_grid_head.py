"""The second stage of PV-RCNN: RoI-grid pooling of keypoint features, confidence and refinement (section 3.3 there)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shared_models.geometry import box_coding
from shared_models.geometry.boxes import rotate_points
from shared_models.heads.fully_connected import fully_connected, on_rows
from shared_models.precision import full_precision
from shared_models.records import check
from shared_models.sets.set_abstraction import GroupingConfig, SetAbstraction


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiGridConfig:
    """Pooling and layers of the RoI-grid head.

    grid_size: grid points per axis of a proposal.
    grouping: neighbourhoods of each grid point among the keypoints.
    widths: of the shared, the confidence and the regression layers, each.
    dropout: probability after the first layer of each.
    """

    grid_size: int = 6
    grouping: GroupingConfig = GroupingConfig(radii_m=(0.8, 1.6), widths=((64, 64), (64, 64)))
    widths: tuple[int, int] = (256, 256)
    dropout: float = 0.3

    def __post_init__(self) -> None:
        check.count("RoiGridConfig", "grid_size", self.grid_size, 16)
        check.count("RoiGridConfig", "widths", self.widths, check.MAX_WIDTH)
        check.number("RoiGridConfig", "dropout", self.dropout, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """logits: (R,) confidence. codes: (R, 7) box codes in each proposal's own frame. boxes: (R, 7) decoded."""

    logits: Tensor
    codes: Tensor
    boxes: Tensor


class RoiGridHead(nn.Module):
    """Refines proposals from keypoints; names as in OpenPCDet's `roi_head`."""

    def __init__(self, in_channels: int, config: RoiGridConfig) -> None:
        super().__init__()
        self.config = config
        self.roi_grid_pool_layer = SetAbstraction(in_channels, config.grouping)
        pooled = config.grid_size**3 * config.grouping.out_channels
        self.shared_fc_layer = fully_connected(pooled, config.widths, config.dropout)
        self.cls_layers = fully_connected(config.widths[-1], config.widths, config.dropout, out_channels=1)
        self.reg_layers = fully_connected(config.widths[-1], config.widths, config.dropout, out_channels=7)

    def forward(
        self, boxes: Sequence[Tensor], keypoints: Sequence[Tensor], features: Sequence[Tensor]
    ) -> list[Refinement]:
        """Confidence and refined boxes of the proposals (R, 7) of each scan.

        keypoints: (K, 3) of each scan, metres, LiDAR frame. features: (K, C) of each, weighted.
        In training, batch norm sees the proposals of all scans together.
        """
        boxes = [scan.detach() for scan in boxes]
        sizes = [len(scan) for scan in boxes]
        together = torch.cat(boxes)
        if len(together) == 0:
            empty = Refinement(logits=together.new_zeros((0,)), codes=together, boxes=together)
            return [empty for _ in boxes]
        points = [self.grid_points(scan).flatten(0, 1) for scan in boxes]
        pooled = torch.cat(self.roi_grid_pool_layer(points, keypoints, features))
        pooled = pooled.view(len(together), -1, pooled.shape[1]).transpose(1, 2).reshape(len(together), -1)
        shared = on_rows(self.shared_fc_layer, pooled)
        codes = full_precision(on_rows(self.reg_layers, shared))
        logits = full_precision(on_rows(self.cls_layers, shared).flatten())
        parts = zip(
            *(torch.split_with_sizes(part, sizes) for part in (logits, codes, _decode(codes, together))), strict=True
        )
        return [Refinement(logits=part[0], codes=part[1], boxes=part[2]) for part in parts]

    def grid_points(self, boxes: Tensor) -> Tensor:
        """(R, G^3, 3): points evenly spread in each box, x slowest and z fastest, LiDAR frame."""
        steps = (torch.arange(self.config.grid_size, device=boxes.device) + 0.5) / self.config.grid_size - 0.5
        unit = torch.cartesian_prod(steps, steps, steps).to(boxes.dtype)
        local = unit[None] * boxes[:, None, 3:6]
        return rotate_points(local, boxes[:, 6]) + boxes[:, None, :3]


def _decode(codes: Tensor, boxes: Tensor) -> Tensor:
    """Boxes from codes that were made in the frame of each proposal."""
    local = torch.cat((torch.zeros_like(boxes[:, :3]), boxes[:, 3:6], torch.zeros_like(boxes[:, 6:])), 1)
    decoded = box_coding.decode(codes, local)
    centre = rotate_points(decoded[:, None, :3], boxes[:, 6])[:, 0] + boxes[:, :3]
    return torch.cat((centre, decoded[:, 3:6], decoded[:, 6:] + boxes[:, 6:]), 1)
