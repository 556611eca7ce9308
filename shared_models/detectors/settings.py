"""Complete configurations: KITTI, Waymo, and two reduced ones for processors without a GPU.

Numbers of `kitti` and `waymo` are those of OpenPCDet 0.5.1's configuration files.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from shared_models.backbones.bev import BevConfig
from shared_models.backbones.second import BackboneConfig
from shared_models.backbones.voxel_set_abstraction import SetAbstractionConfig, StageGrouping
from shared_models.backbones.voxelizer import VoxelConfig
from shared_models.detectors.pv_rcnn import PvRcnnConfig
from shared_models.detectors.second_iou import SecondIouConfig
from shared_models.heads.anchor_head import AnchorHeadConfig
from shared_models.heads.anchors import AnchorClass
from shared_models.sets.set_abstraction import GroupingConfig

C = TypeVar("C", SecondIouConfig, PvRcnnConfig)

WAYMO_RANGE = (-75.2, -75.2, -2.0, 75.2, 75.2, 4.0)
WAYMO_CLASSES = (
    AnchorClass(name="Vehicle", size_m=(4.7, 2.1, 1.7), bottom_m=0.0, matched_iou=0.55, unmatched_iou=0.4),
    AnchorClass(name="Pedestrian", size_m=(0.91, 0.86, 1.73), bottom_m=0.0, matched_iou=0.5, unmatched_iou=0.35),
    AnchorClass(name="Cyclist", size_m=(1.78, 0.84, 1.78), bottom_m=0.0, matched_iou=0.5, unmatched_iou=0.35),
)


def kitti(config_class: type[C]) -> C:
    """0.05 m voxels, 70.4 m ahead and 40 m to each side: OpenPCDet's configuration, the class's defaults."""
    return config_class()


def waymo(config_class: type[C]) -> C:
    """0.1 m voxels over 150.4 x 150.4 m, with Waymo's elongation as fifth point field."""
    voxels = VoxelConfig(
        point_range_m=WAYMO_RANGE,
        voxel_size_m=(0.1, 0.1, 0.15),
        max_voxels=150_000,
        max_voxels_training=150_000,
        point_fields=("x", "y", "z", "intensity", "elongation"),
    )
    config = replace(config_class(), voxels=voxels, anchors=AnchorHeadConfig(classes=WAYMO_CLASSES))
    config = replace(
        config,
        proposals=replace(config.proposals, pre_max=4096, post_max=300, iou_threshold=0.85),
        selection=replace(config.selection, iou_threshold=0.7),
    )
    if not isinstance(config, PvRcnnConfig):
        return config
    wide = ((64, 64), (64, 64))
    points = SetAbstractionConfig(
        keypoint_count=4096,
        stages=(
            StageGrouping(stage="conv3", grouping=GroupingConfig(radii_m=(1.2, 2.4), neighbours=(16, 32), widths=wide)),
            StageGrouping(stage="conv4", grouping=GroupingConfig(radii_m=(2.4, 4.8), neighbours=(16, 32), widths=wide)),
        ),
    )
    return replace(config, points=points)


def small(config_class: type[C]) -> C:
    """KITTI's range at 0.1 m voxels: a quarter of the cells, full widths."""
    return replace(config_class(), voxels=VoxelConfig(voxel_size_m=(0.1, 0.1, 0.1)))


def tiny(config_class: type[C]) -> C:
    """35.2 x 40 m ahead at 0.1 m voxels and half the widths: trains on two processor cores."""
    voxels = VoxelConfig(point_range_m=(0.0, -20.0, -3.0, 35.2, 20.0, 1.0), voxel_size_m=(0.1, 0.1, 0.1))
    config = replace(
        config_class(),
        voxels=voxels,
        backbone=BackboneConfig(stage_channels=(16, 16, 32, 32), out_channels=64),
        bev=BevConfig(layer_counts=(3, 3), channels=(64, 128), upsample_channels=(128, 128)),
    )
    if not isinstance(config, PvRcnnConfig):
        return config
    return replace(config, points=SetAbstractionConfig(keypoint_count=1024))
