"""SECOND-IoU: SECOND with a head that predicts each box's IoU, whose prediction is the final score."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from shared_models.backbones.bev import BevConfig
from shared_models.backbones.second import BackboneConfig
from shared_models.backbones.voxelizer import VoxelConfig
from shared_models.detectors.anchor_detector import AnchorDetector, as_candidates
from shared_models.detectors.batch_input import BatchInput
from shared_models.heads.anchor_head import AnchorHeadConfig
from shared_models.heads.candidates import Candidates
from shared_models.heads.iou_head import IouHead, IouHeadConfig
from shared_models.heads.proposals import ProposalConfig, SelectionConfig
from shared_models.records import SceneFeatures
from shared_models.sparse.engine import SparseEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondIouConfig:
    """Configuration of SECOND-IoU; the defaults are KITTI's."""

    voxels: VoxelConfig = VoxelConfig()
    backbone: BackboneConfig = BackboneConfig()
    bev: BevConfig = BevConfig()
    anchors: AnchorHeadConfig = AnchorHeadConfig()
    roi: IouHeadConfig = IouHeadConfig()
    proposals: ProposalConfig = ProposalConfig()
    selection: SelectionConfig = SelectionConfig()


class SecondIou(AnchorDetector):
    """Shares grid features only."""

    name = "second_iou"
    vehicle_parts = ("backbone_3d.",)
    config_class = SecondIouConfig
    config: SecondIouConfig

    def __init__(self, config: SecondIouConfig, engine: SparseEngine) -> None:
        super().__init__(config, engine)
        self.roi_head = IouHead(config.bev.out_channels, config.roi, self.geometry.cell_m, self.geometry.low_m)

    @classmethod
    def openpcdet_config(cls, config: SecondIouConfig) -> SecondIouConfig:
        return replace(config, roi=replace(config.roi, pooling="openpcdet"))

    def extract(self, points: Tensor) -> SceneFeatures:
        grid = self.extract_batch([points]).grid.scan(0)
        return SceneFeatures(grid=grid, split_layer=self.split_layer, backbone_hash=self.backbone_hash)

    def candidates(self, batch: BatchInput) -> list[Candidates]:
        first = self.first_stage(batch.grid)
        found = self.propose(first)
        logits = self.roi_head(first.bev, [scan.boxes for scan in found])
        return [as_candidates(scan, scan.boxes, own) for scan, own in zip(found, logits, strict=True)]
