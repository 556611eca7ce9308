"""Keypoint weighting of PV-RCNN: how likely each keypoint lies on an object (OpenPCDet's PointHeadSimple)."""

from __future__ import annotations

from torch import Tensor, nn


class PointHead(nn.Module):
    """Three linear layers on the features before fusion; names as in OpenPCDet's `point_head`."""

    def __init__(self, in_channels: int, width: int = 256) -> None:
        super().__init__()
        self.cls_layers = nn.Sequential(
            nn.Linear(in_channels, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(K,) foreground logits from (K, C)."""
        logits: Tensor = self.cls_layers(features)
        return logits.squeeze(1)
