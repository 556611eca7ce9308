"""The dense detection head on the bird's-eye map (SECOND's region proposal head, OpenPCDet's AnchorHeadSingle)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from shared_models.geometry import box_coding
from shared_models.geometry.boxes import limit_period
from shared_models.heads.anchors import AnchorClass, make_anchors
from shared_models.precision import full_precision
from shared_models.records import check

DIRECTION_BINS = 2
BOX_CODE_SIZE = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorHeadConfig:
    """Anchors and direction bins.

    classes: one entry per class, in the order of labels.
    direction_offset_rad: where the first direction bin begins.
    prior_probability: initial class probability of every anchor (focal loss paper, section 3.3).
    """

    classes: tuple[AnchorClass, ...] = (
        AnchorClass(),
        AnchorClass(name="Pedestrian", size_m=(0.8, 0.6, 1.73), bottom_m=-0.6, matched_iou=0.5, unmatched_iou=0.35),
        AnchorClass(name="Cyclist", size_m=(1.76, 0.6, 1.73), bottom_m=-0.6, matched_iou=0.5, unmatched_iou=0.35),
    )
    direction_offset_rad: float = 0.78539
    prior_probability: float = 0.01

    def __post_init__(self) -> None:
        check.distinct_names("AnchorHeadConfig", "classes", self.class_names, 64)
        check.number("AnchorHeadConfig", "direction_offset_rad", self.direction_offset_rad, -10, 10)
        check.number("AnchorHeadConfig", "prior_probability", self.prior_probability, 1e-6, 1 - 1e-6)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in the order of labels."""
        return tuple(kind.name for kind in self.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorPredictions:
    """Raw outputs, channels last as in OpenPCDet: A anchors a cell, K classes.

    class_logits: (B, Y, X, A * K). box_codes: (B, Y, X, A * 7). direction_logits: (B, Y, X, A * 2).
    """

    class_logits: Tensor
    box_codes: Tensor
    direction_logits: Tensor


class AnchorHead(nn.Module):
    """1x1 convolutions; names as in OpenPCDet's `dense_head`."""

    anchors: Tensor

    def __init__(
        self, in_channels: int, config: AnchorHeadConfig, point_range_m: tuple[float, ...], bev_shape: tuple[int, int]
    ) -> None:
        super().__init__()
        self.config = config
        per_cell = sum(len(kind.yaws_rad) for kind in config.classes)
        self.conv_cls = nn.Conv2d(in_channels, per_cell * len(config.classes), 1)
        self.conv_box = nn.Conv2d(in_channels, per_cell * BOX_CODE_SIZE, 1)
        self.conv_dir_cls = nn.Conv2d(in_channels, per_cell * DIRECTION_BINS, 1)
        prior = config.prior_probability
        nn.init.constant_(self.conv_cls.bias, -math.log((1 - prior) / prior))  # type: ignore[arg-type]
        nn.init.normal_(self.conv_box.weight, std=0.001)
        # Derived from the configuration, so not part of a checkpoint.
        self.register_buffer("anchors", make_anchors(config.classes, point_range_m, bev_shape), persistent=False)

    def forward(self, bev: Tensor) -> AnchorPredictions:
        """Predictions for every anchor from (B, C, Y, X)."""
        return AnchorPredictions(
            class_logits=self.conv_cls(bev).permute(0, 2, 3, 1),
            box_codes=self.conv_box(bev).permute(0, 2, 3, 1),
            direction_logits=self.conv_dir_cls(bev).permute(0, 2, 3, 1),
        )

    def class_logits(self, predictions: AnchorPredictions) -> Tensor:
        """(B, N, K) logits of the N anchors."""
        flat = predictions.class_logits
        return full_precision(flat.reshape(flat.shape[0], len(self.anchors), len(self.config.classes)))

    def decode(self, predictions: AnchorPredictions) -> Tensor:
        """(B, N, 7) boxes of the N anchors, heading from the direction bin, LiDAR frame."""
        batch_size = predictions.box_codes.shape[0]
        codes = full_precision(predictions.box_codes.reshape(batch_size, len(self.anchors), BOX_CODE_SIZE))
        boxes = box_coding.decode(codes, self.anchors.expand(batch_size, -1, -1))
        bins = predictions.direction_logits.reshape(batch_size, len(self.anchors), DIRECTION_BINS).argmax(2)
        return _with_heading(boxes, bins, self.config.direction_offset_rad)


def _with_heading(boxes: Tensor, bins: Tensor, offset: float) -> Tensor:
    """The same boxes with yaw = offset + (yaw - offset) mod pi + bin * pi."""
    period = 2 * math.pi / DIRECTION_BINS
    yaw = limit_period(boxes[..., 6] - offset, 0.0, period) + offset + period * bins.to(boxes.dtype)
    boxes = boxes.clone()
    boxes[..., 6] = yaw
    return boxes
