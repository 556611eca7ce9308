"""Voxel set abstraction of PV-RCNN (Shi et al., CVPR 2020, section 3.2): keypoints gather features of all stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shared_models.backbones.second import DOWNSAMPLING, BackboneConfig, BackboneStages
from shared_models.backbones.voxelizer import VoxelConfig, Voxels
from shared_models.errors import InvalidValueError
from shared_models.geometry.interpolation import interpolate_bev
from shared_models.geometry.sampling import farthest_point_sampling
from shared_models.precision import full_precision
from shared_models.records import SetFeatures, check
from shared_models.sets.set_abstraction import GroupingConfig, SetAbstraction
from shared_models.sparse.arrival import ranks_after, ranks_of
from shared_models.sparse.tensor import SparseFeatures

STAGE_STRIDES = {"conv1": 1, "conv2": 2, "conv3": 4, "conv4": 8}
BEV_STRIDE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StageGrouping:
    """Neighbourhoods among the voxels of one backbone stage ("conv1" to "conv4")."""

    stage: str
    grouping: GroupingConfig

    def __post_init__(self) -> None:
        if self.stage not in STAGE_STRIDES:
            raise InvalidValueError(f"StageGrouping.stage: expected {', '.join(STAGE_STRIDES)}, got {self.stage!r}")


_WIDE = ((64, 64), (64, 64))


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAbstractionConfig:
    """Keypoints and what they gather.

    keypoint_count: farthest-point samples per scan.
    raw_points: neighbourhoods among the raw points.
    stages: neighbourhoods among the voxels of backbone stages, in the order of their features.
    fused_channels: width after the fusion layer, which runs on the server.
    """

    keypoint_count: int = 2048
    raw_points: GroupingConfig = GroupingConfig()
    stages: tuple[StageGrouping, ...] = (
        StageGrouping(stage="conv1", grouping=GroupingConfig()),
        StageGrouping(
            stage="conv2", grouping=GroupingConfig(radii_m=(0.8, 1.2), neighbours=(16, 32), widths=((32, 32), (32, 32)))
        ),
        StageGrouping(stage="conv3", grouping=GroupingConfig(radii_m=(1.2, 2.4), neighbours=(16, 32), widths=_WIDE)),
        StageGrouping(stage="conv4", grouping=GroupingConfig(radii_m=(2.4, 4.8), neighbours=(16, 32), widths=_WIDE)),
    )
    fused_channels: int = 128

    def __post_init__(self) -> None:
        check.count("SetAbstractionConfig", "keypoint_count", self.keypoint_count, 65_536)
        check.entries("SetAbstractionConfig", 16, stages=self.stages)
        check.count("SetAbstractionConfig", "fused_channels", self.fused_channels, check.MAX_WIDTH)

    def gathered_channels(self, bev_channels: int) -> int:
        """Width before fusion (640 with KITTI's settings): BEV, raw points, then stages."""
        stages = sum(stage.grouping.out_channels for stage in self.stages)
        return bev_channels + self.raw_points.out_channels + stages


class VoxelSetAbstraction(nn.Module):
    """Vehicle part `gather` and server part `fuse`; names as in OpenPCDet's `pfe`."""

    def __init__(
        self, config: SetAbstractionConfig, voxels: VoxelConfig, backbone: BackboneConfig, bev_channels: int
    ) -> None:
        super().__init__()
        self.config, self.voxels = config, voxels
        widths = dict(zip(STAGE_STRIDES, backbone.stage_channels, strict=True))
        self.SA_rawpoints = SetAbstraction(len(voxels.point_fields) - 3, config.raw_points)
        self.SA_layers = nn.ModuleList(SetAbstraction(widths[s.stage], s.grouping) for s in config.stages)
        self.vsa_point_feature_fusion = nn.Sequential(
            nn.Linear(config.gathered_channels(bev_channels), config.fused_channels, bias=False),
            nn.BatchNorm1d(config.fused_channels),
            nn.ReLU(),
        )

    def gather(self, scans: Sequence[Tensor], voxels: Voxels, stages: BackboneStages) -> list[SetFeatures]:
        """Keypoints of each scan with their features before fusion; a scan without points gives none.

        Args:
            scans: (N, F) float32 each, columns as in the voxel configuration, cropped to the range in x and y.
            voxels, stages: of the same scans.
        """
        keypoints = [points[farthest_point_sampling(points, self.config.keypoint_count), :3] for points in scans]
        parts = [self._bev_features(keypoints, stages)]
        parts.append(self.SA_rawpoints(keypoints, [p[:, :3] for p in scans], [p[:, 3:] for p in scans]))
        orders = _arrival_orders(voxels, stages)
        for source, layer in zip(self.config.stages, self.SA_layers, strict=True):
            stage: SparseFeatures = getattr(stages, source.stage)
            centres = self._voxel_centres(stage, STAGE_STRIDES[source.stage])
            rows = orders[source.stage]
            parts.append(layer(keypoints, [centres[r] for r in rows], [stage.features[r] for r in rows]))
        together = [torch.cat([full_precision(part) for part in scan], 1) for scan in zip(*parts, strict=True)]
        pairs = zip(keypoints, together, strict=True)
        return [SetFeatures(positions=positions.contiguous(), features=features) for positions, features in pairs]

    def _bev_features(self, keypoints: Sequence[Tensor], stages: BackboneStages) -> list[Tensor]:
        """Bird's-eye features at the keypoints of each scan."""
        low, size = self.voxels.point_range_m, self.voxels.voxel_size_m
        maps = stages.conv_out.bev_map()
        cells = [torch.stack([(p[:, a] - low[a]) / size[a] / BEV_STRIDE for a in (0, 1)], 1) for p in keypoints]
        return [interpolate_bev(*scan) for scan in zip(maps, cells, strict=True)]

    def fuse(self, gathered: Tensor) -> Tensor:
        """(K, fused_channels) from (K, gathered channels)."""
        fused: Tensor = self.vsa_point_feature_fusion(gathered)
        return fused

    def _voxel_centres(self, stage: SparseFeatures, stride: int) -> Tensor:
        """(V, 3) [x y z] metres: centres of a stage's cells, taken as `stride` voxels wide on every axis."""
        size = stage.features.new_tensor(self.voxels.voxel_size_m) * stride
        low = stage.features.new_tensor(self.voxels.point_range_m[:3])
        return (stage.sites.coords[:, [3, 2, 1]].to(size.dtype) + 0.5) * size + low


def _arrival_orders(voxels: Voxels, stages: BackboneStages) -> dict[str, list[Tensor]]:
    """Rows of each scan in each stage in the order in which OpenPCDet numbers them: a full ball takes the first."""
    # Scans come one after the other, each in the order of its points.
    batch = voxels.cells.sites.coords[:, 0].long()
    ranks = ranks_of(batch * (int(voxels.first_points.max() if len(batch) else 0) + 1) + voxels.first_points)
    orders = {"conv1": _rows_by_scan(ranks, stages.conv1)}
    for name, before, spec in zip(("conv2", "conv3", "conv4"), ("conv1", "conv2", "conv3"), DOWNSAMPLING, strict=True):
        ranks = ranks_after(ranks, getattr(stages, before).sites, spec)
        orders[name] = _rows_by_scan(ranks, getattr(stages, name))
    return orders


def _rows_by_scan(ranks: Tensor, stage: SparseFeatures) -> list[Tensor]:
    """For each scan its rows, by rank."""
    batch = stage.sites.coords[:, 0]
    rows = [(batch == number).nonzero().squeeze(1) for number in range(stage.sites.batch_size)]
    return [own[torch.argsort(ranks[own])] for own in rows]
