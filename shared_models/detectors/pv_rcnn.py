"""PV-RCNN (Shi et al., CVPR 2020): SECOND's first stage, refined from keypoints that saw points and voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shared_models.backbones.bev import BevConfig
from shared_models.backbones.second import BackboneConfig
from shared_models.backbones.voxel_set_abstraction import SetAbstractionConfig, VoxelSetAbstraction
from shared_models.backbones.voxelizer import VoxelConfig, crop_to_range
from shared_models.detector import config_as_dict
from shared_models.detectors.anchor_detector import AnchorDetector, as_candidates
from shared_models.detectors.batch_input import BatchInput
from shared_models.errors import InvalidValueError
from shared_models.heads.anchor_head import AnchorHeadConfig
from shared_models.heads.candidates import Candidates
from shared_models.heads.point_head import PointHead
from shared_models.heads.proposals import ProposalConfig, SelectionConfig
from shared_models.heads.roi_grid_head import Refinement, RoiGridConfig, RoiGridHead
from shared_models.records import SceneFeatures, SetFeatures
from shared_models.sparse.engine import SparseEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class PvRcnnConfig:
    """Configuration of PV-RCNN; the defaults are KITTI's."""

    voxels: VoxelConfig = VoxelConfig()
    backbone: BackboneConfig = BackboneConfig()
    points: SetAbstractionConfig = SetAbstractionConfig()
    bev: BevConfig = BevConfig()
    anchors: AnchorHeadConfig = AnchorHeadConfig()
    roi: RoiGridConfig = RoiGridConfig()
    proposals: ProposalConfig = ProposalConfig()
    selection: SelectionConfig = SelectionConfig(iou_threshold=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedKeypoints:
    """Of each scan of a batch. logits: (K,), lies on an object. features: (K, C) fused, times that probability."""

    logits: Sequence[Tensor]
    features: Sequence[Tensor]


class PvRcnn(AnchorDetector):
    """Shares grid features and keypoints with their features before fusion."""

    name = "pv_rcnn"
    vehicle_parts = ("backbone_3d.", "pfe.SA_")
    config_class = PvRcnnConfig
    config: PvRcnnConfig

    def __init__(self, config: PvRcnnConfig, engine: SparseEngine) -> None:
        super().__init__(config, engine)
        self.pfe = VoxelSetAbstraction(config.points, config.voxels, config.backbone, self.geometry.bev_channels)
        self.point_head = PointHead(self.keypoint_channels)
        self.roi_head = RoiGridHead(config.points.fused_channels, config.roi)

    @property
    def keypoint_channels(self) -> int:
        """Width of the keypoint features that a vehicle shares."""
        return self.config.points.gathered_channels(self.geometry.bev_channels)

    def vehicle_config(self) -> dict[str, Any]:
        return super().vehicle_config() | config_as_dict(self.config.points)

    def extract(self, points: Tensor) -> SceneFeatures:
        batch = self.extract_batch([points])
        assert batch.keypoints is not None
        return SceneFeatures(
            grid=batch.grid.scan(0),
            keypoints=batch.keypoints[0],
            split_layer=self.split_layer,
            backbone_hash=self.backbone_hash,
        )

    def extract_batch(self, scans: Sequence[Tensor]) -> BatchInput:
        voxels = self.voxelize(scans)
        stages = self.stages(voxels)
        cropped = [crop_to_range(points, self.config.voxels) for points in scans]
        return BatchInput(grid=stages.conv_out, keypoints=tuple(self.pfe.gather(cropped, voxels, stages)))

    def candidates(self, batch: BatchInput) -> list[Candidates]:
        assert batch.keypoints is not None
        found = self.propose(self.first_stage(batch.grid))
        refined = self.refine([scan.boxes for scan in found], batch.keypoints)
        return [as_candidates(scan, own.boxes, own.logits) for scan, own in zip(found, refined, strict=True)]

    def batch_of(self, scenes: Sequence[SceneFeatures]) -> BatchInput:
        for number, scene in enumerate(scenes):
            self._check_keypoints(number, scene)
        return super().batch_of(scenes)

    def refine(self, boxes: Sequence[Tensor], keypoints: Sequence[SetFeatures]) -> list[Refinement]:
        """Confidence and refined boxes of the proposals (R, 7) of each scan."""
        return self.refine_weighted(boxes, keypoints, self.weigh(keypoints))

    def weigh(self, keypoints: Sequence[SetFeatures]) -> WeightedKeypoints:
        """How likely keypoints lie on objects, and their fused features weighted by that."""
        sizes = [len(scan) for scan in keypoints]
        gathered = torch.cat([scan.features for scan in keypoints])
        if len(gathered) == 0:
            logits, fused = gathered.new_zeros((0,)), gathered.new_zeros((0, self.config.points.fused_channels))
        else:
            logits = self.point_head(gathered)
            fused = self.pfe.fuse(gathered) * torch.sigmoid(logits)[:, None]
        return WeightedKeypoints(
            logits=torch.split_with_sizes(logits, sizes), features=torch.split_with_sizes(fused, sizes)
        )

    def refine_weighted(
        self, boxes: Sequence[Tensor], keypoints: Sequence[SetFeatures], weighted: WeightedKeypoints
    ) -> list[Refinement]:
        """As `refine`, from keypoints that were weighed before."""
        refined: list[Refinement] = self.roi_head(boxes, [scan.positions for scan in keypoints], weighted.features)
        return refined

    def _check_keypoints(self, number: int, scene: SceneFeatures) -> None:
        if scene.keypoints is None or scene.keypoints.features.shape[1] != self.keypoint_channels:
            came = "none" if scene.keypoints is None else f"{scene.keypoints.features.shape[1]} channels"
            raise InvalidValueError(
                f"scene {number} of the batch: PV-RCNN needs keypoints with {self.keypoint_channels} channels, "
                f"got {came}"
            )
