"""The second stage of SECOND-IoU: predicts how well each proposal fits (OpenPCDet's SECONDHead)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared_models.errors import InvalidValueError
from shared_models.heads.fully_connected import fully_connected, on_rows
from shared_models.precision import full_precision
from shared_models.records import check

POOLING_FORMS = ("rotated", "openpcdet")


@dataclass(frozen=True, slots=True, kw_only=True)
class IouHeadConfig:
    """Pooling and layers of the IoU head.

    grid_size: cells per side of the pooled grid.
    widths: of the shared and of the IoU layers, each.
    dropout: probability after the first layer of each.
    pooling: "rotated" samples the proposal as it lies. "openpcdet" uses upstream's affine matrix, whose rows mix length
        and width, so that a turned box is pooled over an unrotated window; weights trained there need it.
    align_corners: of the grid sampling. True is right; False is what OpenPCDet 0.5.1 did (its pull request 993).
    """

    grid_size: int = 7
    widths: tuple[int, int] = (256, 256)
    dropout: float = 0.3
    pooling: str = "rotated"
    align_corners: bool = True

    def __post_init__(self) -> None:
        check.count("IouHeadConfig", "grid_size", self.grid_size, 32)
        check.count("IouHeadConfig", "widths", self.widths, check.MAX_WIDTH)
        check.number("IouHeadConfig", "dropout", self.dropout, 0, 1)
        if self.pooling not in POOLING_FORMS:
            raise InvalidValueError(
                f"IouHeadConfig.pooling: expected {' or '.join(POOLING_FORMS)}, got {self.pooling!r}"
            )


class IouHead(nn.Module):
    """One IoU logit per proposal; names as in OpenPCDet's `roi_head`."""

    def __init__(
        self, bev_channels: int, config: IouHeadConfig, cell_m: tuple[float, float], low_m: tuple[float, float]
    ):
        super().__init__()
        self.config, self.cell_m, self.low_m = config, cell_m, low_m
        pooled = bev_channels * config.grid_size**2
        self.shared_fc_layer = fully_connected(pooled, config.widths, config.dropout)
        self.iou_layers = fully_connected(config.widths[-1], config.widths, config.dropout, out_channels=1)

    def forward(self, bev: Tensor, boxes: Sequence[Tensor]) -> list[Tensor]:
        """(R,) logits for the boxes (R, 7) of each scan, on the maps (B, C, Y, X).

        Maps and boxes are detached: this head gives no gradient to what it looks at (as in OpenPCDet). In training,
        batch norm sees the boxes of all scans together.
        """
        maps = full_precision(bev.detach())
        pooled = torch.cat([self._pool(*scan) for scan in zip(maps, (b.detach() for b in boxes), strict=True)])
        if len(pooled) == 0:
            return [bev.new_zeros((0,)) for _ in boxes]
        logits = on_rows(self.iou_layers, on_rows(self.shared_fc_layer, pooled.flatten(1)))
        return list(torch.split_with_sizes(full_precision(logits.flatten()), [len(scan) for scan in boxes]))

    def _pool(self, bev: Tensor, boxes: Tensor) -> Tensor:
        """(R, C, G, G) bilinear samples, first axis of the grid across the box, second along it."""
        size = self.config.grid_size
        count, (height, width) = len(boxes), bev.shape[1:]
        if count == 0:
            return bev.new_zeros((0, bev.shape[0], size, size))
        grid = functional.affine_grid(
            self._affine(boxes, width, height), [count, 1, size, size], align_corners=self.config.align_corners
        )
        # One image sampled at all places: expanding the map per proposal is as exact and far slower.
        sampled = functional.grid_sample(
            bev[None], grid.view(1, count * size, size, 2), align_corners=self.config.align_corners
        )
        return sampled[0].view(-1, count, size, size).transpose(0, 1)

    def _affine(self, boxes: Tensor, width: int, height: int) -> Tensor:
        """(R, 2, 3) maps from [-1, 1]^2 on the proposal to the map's normalised coordinates."""
        x, y = ((boxes[:, axis] - self.low_m[axis]) / self.cell_m[axis] for axis in (0, 1))
        length, breadth = boxes[:, 3], boxes[:, 4]
        cos, sin = torch.cos(boxes[:, 6]), torch.sin(boxes[:, 6])
        if self.config.pooling == "openpcdet":
            across_x, along_y = length, breadth
        else:
            across_x, along_y = breadth, length
        x_scale, y_scale = self.cell_m[0] * (width - 1), self.cell_m[1] * (height - 1)
        row_x = (length * cos / x_scale, -across_x * sin / x_scale, (2 * x - width + 1) / (width - 1))
        row_y = (along_y * sin / y_scale, breadth * cos / y_scale, (2 * y - height + 1) / (height - 1))
        return torch.stack((torch.stack(row_x, 1), torch.stack(row_y, 1)), 1)
