"""What SECOND-IoU and PV-RCNN share: voxels, 3D backbone, bird's-eye backbone, anchor head, proposals."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from shared_models.backbones.bev import BevBackbone, BevConfig
from shared_models.backbones.second import BackboneConfig, BackboneStages, SecondBackbone, output_shape
from shared_models.backbones.voxelizer import VoxelConfig, Voxels, crop_to_range, voxelize
from shared_models.detector import Detector, config_as_dict
from shared_models.detectors.batch_input import BatchInput
from shared_models.errors import InvalidValueError
from shared_models.heads.anchor_head import AnchorHead, AnchorHeadConfig, AnchorPredictions
from shared_models.heads.candidates import Candidates
from shared_models.heads.proposals import ProposalConfig, Proposals, SelectionConfig, propose, select, usable
from shared_models.records import Detections, SceneFeatures
from shared_models.sparse.engine import SparseEngine
from shared_models.sparse.layers import is_norm_shared
from shared_models.sparse.sites import Triple
from shared_models.sparse.tensor import SparseFeatures

MAP_STRIDE = 8


class AnchorDetectorConfig(Protocol):
    """The parts that every configuration of an anchor detector has."""

    @property
    def voxels(self) -> VoxelConfig: ...
    @property
    def backbone(self) -> BackboneConfig: ...
    @property
    def bev(self) -> BevConfig: ...
    @property
    def anchors(self) -> AnchorHeadConfig: ...
    @property
    def proposals(self) -> ProposalConfig: ...
    @property
    def selection(self) -> SelectionConfig: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MapGeometry:
    """Sizes that follow from voxels and widths.

    grid_shape: (D, H, W) of conv_out. bev_channels: conv_out's channels times its slices.
    cell_m: size of a bird's-eye cell in x and y. low_m: minimum of the range in x and y.
    """

    grid_shape: Triple
    bev_channels: int
    cell_m: tuple[float, float]
    low_m: tuple[float, float]

    @classmethod
    def of(cls, voxels: VoxelConfig, backbone: BackboneConfig) -> MapGeometry:
        """Geometry of the maps that this backbone makes of these voxels."""
        shape = output_shape(voxels.sparse_shape)
        return cls(
            grid_shape=shape,
            bev_channels=backbone.out_channels * shape[0],
            cell_m=(voxels.voxel_size_m[0] * MAP_STRIDE, voxels.voxel_size_m[1] * MAP_STRIDE),
            low_m=voxels.point_range_m[:2],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStage:
    """Dense results of a batch. bev: (B, C, Y, X) of the bird's-eye backbone; predictions: of the anchor head."""

    bev: Tensor
    predictions: AnchorPredictions


class AnchorDetector(Detector):
    """Abstract: everything up to the proposals. A detector adds its second stage."""

    config: AnchorDetectorConfig

    def __init__(self, config: AnchorDetectorConfig, engine: SparseEngine) -> None:
        super().__init__(config)
        geometry = MapGeometry.of(config.voxels, config.backbone)
        _check_map(geometry.grid_shape, config.bev)
        self.geometry = geometry
        self.backbone_3d = SecondBackbone(len(config.voxels.point_fields), config.backbone, engine)
        self.backbone_2d = BevBackbone(geometry.bev_channels, config.bev)
        self.dense_head = AnchorHead(
            config.bev.out_channels, config.anchors, config.voxels.point_range_m, geometry.grid_shape[1:]
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.config.anchors.class_names

    @property
    def point_fields(self) -> tuple[str, ...]:
        return self.config.voxels.point_fields

    def vehicle_config(self) -> dict[str, Any]:
        config = config_as_dict(self.config.voxels, self.config.backbone)
        del config["VoxelConfig"]["max_voxels_training"]  # no vehicle trains
        return config

    def voxelize(self, scans: Sequence[Tensor]) -> Voxels:
        """Voxels of a batch of raw scans, each (N, F) float32; in training mode at most `max_voxels_training` each."""
        config = self.config.voxels
        limit = config.max_voxels_training if self.training else config.max_voxels
        return voxelize([crop_to_range(points, config) for points in scans], config, limit)

    def stages(self, voxels: Voxels) -> BackboneStages:
        """All stages of the 3D backbone on a batch of voxelised scans."""
        # Scans without any voxel teach the backbone nothing; but a norm over several processes needs each of them in
        # its backward pass too.
        is_taught = len(voxels.cells.sites) > 0 or is_norm_shared(self.backbone_3d)
        with torch.set_grad_enabled(torch.is_grad_enabled() and is_taught):
            stages: BackboneStages = self.backbone_3d(voxels.cells)
        return stages

    def extract_batch(self, scans: Sequence[Tensor]) -> BatchInput:
        """The vehicle's part on several scans, each (N, F) as in `extract`; gradients reach its parameters."""
        return BatchInput(grid=self.stages(self.voxelize(scans)).conv_out)

    def first_stage(self, grid: SparseFeatures) -> FirstStage:
        """Bird's-eye backbone and anchor head on a batch of conv_out cells."""
        bev = self.backbone_2d(grid.bev_map())
        return FirstStage(bev=bev, predictions=self.dense_head(bev))

    def propose(self, first: FirstStage, config: ProposalConfig | None = None) -> list[Proposals]:
        """Proposals of each scan of the batch. config: the detector's own unless given; training takes more of them."""
        config = config or self.config.proposals
        logits = self.dense_head.class_logits(first.predictions)
        boxes = self.dense_head.decode(first.predictions)
        return [propose(*scan, config) for scan in zip(boxes, logits, strict=True)]

    @abstractmethod
    def candidates(self, batch: BatchInput) -> list[Candidates]:
        """What both stages think of each scene's proposals."""

    def batch_of(self, scenes: Sequence[SceneFeatures]) -> BatchInput:
        """Scenes from vehicles as one batch, checked before they are used.

        Raises:
            BackboneMismatchError, InvalidValueError: as `Detector.detect_batch`.
        """
        self.check_scenes(scenes, self.geometry.grid_shape, self.config.backbone.out_channels)
        return BatchInput.of(scenes)

    def detect_batch(self, scenes: Sequence[SceneFeatures]) -> list[Detections]:
        found = self.candidates(self.batch_of(scenes))
        return [select(c.boxes, c.box_scores, c.labels, self.class_names, self.config.selection) for c in found]


def as_candidates(found: Proposals, boxes: Tensor, logits: Tensor) -> Candidates:
    """Proposals with the second stage's boxes (R, 7) and logits (R,); boxes that no network should give are dropped."""
    is_usable = usable(boxes, logits)
    candidates = Candidates(
        boxes=boxes, labels=found.labels, class_scores=torch.sigmoid(found.logits), box_scores=torch.sigmoid(logits)
    )
    return candidates if bool(is_usable.all()) else candidates.chosen(is_usable)


def _check_map(shape: Triple, bev: BevConfig) -> None:
    """The map (D, H, W) can be halved by the bird's-eye backbone as often as it does, and comes back to its size."""
    multiple = bev.upsample_strides[-1]
    if shape[0] < 1 or any(side < 2 or side % multiple for side in shape[1:]):
        raise InvalidValueError(
            f"VoxelConfig.point_range_m: expected a bird's-eye map of at least 1 slice and 2 x 2 cells, each side a "
            f"multiple of {multiple}, got {shape}; change the range or the voxel size"
        )
