"""Each part of a configuration refuses values that make no network, or one of no sane size."""

from __future__ import annotations

from typing import Any

import pytest

from shared_models.backbones.bev import BevConfig
from shared_models.backbones.second import BackboneConfig
from shared_models.backbones.voxel_set_abstraction import SetAbstractionConfig, StageGrouping
from shared_models.backbones.voxelizer import VoxelConfig
from shared_models.errors import InvalidValueError
from shared_models.heads.anchor_head import AnchorHeadConfig
from shared_models.heads.anchors import AnchorClass, make_anchors
from shared_models.heads.iou_head import IouHeadConfig
from shared_models.heads.proposals import ProposalConfig, SelectionConfig
from shared_models.heads.roi_grid_head import RoiGridConfig
from shared_models.sets.set_abstraction import GroupingConfig

NAN, INFINITE = float("nan"), float("inf")

WRONG: list[tuple[type, dict[str, Any]]] = [
    (VoxelConfig, {"point_range_m": (0.0, -40.0, -3.0, NAN, 40.0, 1.0)}),
    (VoxelConfig, {"point_range_m": (0.0, -40.0, -3.0, INFINITE, 40.0, 1.0)}),
    (VoxelConfig, {"point_range_m": (0.0, -40.0, -3.0, 0.0, 40.0, 1.0)}),
    (VoxelConfig, {"point_range_m": (0.0, -40.0, -3.0, 70.42, 40.0, 1.0)}),
    (VoxelConfig, {"point_range_m": (0.0, -40.0, -3.0, 204.85, 40.0, 1.0)}),
    (VoxelConfig, {"point_range_m": (0.0, -40.0, -3.0, 70.4, 40.0, 22.7)}),
    (VoxelConfig, {"voxel_size_m": (-0.05, 0.05, 0.1)}),
    (VoxelConfig, {"voxel_size_m": (0.05, 0.05, 1e-300)}),
    (VoxelConfig, {"max_points_per_voxel": 1.5}),
    (VoxelConfig, {"max_voxels": 0}),
    (VoxelConfig, {"max_voxels_training": -1}),
    (VoxelConfig, {"point_fields": ()}),
    (VoxelConfig, {"point_fields": ("y", "x", "z")}),
    (VoxelConfig, {"point_fields": ("x", "y", "z", "z")}),
    (BackboneConfig, {"stage_channels": (16, 32, 0, 64)}),
    (BackboneConfig, {"out_channels": 4097}),
    (BevConfig, {"strides": (1, 2, 2)}),
    (BevConfig, {"layer_counts": (5, -1)}),
    (BevConfig, {"strides": (0, 2)}),
    (BevConfig, {"channels": (128, 10**9)}),
    (BevConfig, {"upsample_channels": (0, 256)}),
    (BevConfig, {"upsample_strides": (1, 4)}),
    (GroupingConfig, {"neighbours": (16,)}),
    (GroupingConfig, {"radii_m": (0.4, 0.0)}),
    (GroupingConfig, {"neighbours": (16, 10**6)}),
    (GroupingConfig, {"widths": ((16, 16), (16, -16))}),
    (SetAbstractionConfig, {"keypoint_count": 0}),
    (SetAbstractionConfig, {"stages": ()}),
    (SetAbstractionConfig, {"fused_channels": 0}),
    (StageGrouping, {"stage": "conv5", "grouping": GroupingConfig()}),
    (AnchorClass, {"name": ""}),
    (AnchorClass, {"size_m": (3.9, 0.0, 1.56)}),
    (AnchorClass, {"bottom_m": NAN}),
    (AnchorClass, {"yaws_rad": ()}),
    (AnchorClass, {"yaws_rad": (INFINITE,)}),
    (AnchorClass, {"matched_iou": 1.1}),
    (AnchorClass, {"unmatched_iou": 0.7}),
    (AnchorHeadConfig, {"classes": (AnchorClass(), AnchorClass())}),
    (AnchorHeadConfig, {"classes": tuple(AnchorClass(name=str(number)) for number in range(65))}),
    (AnchorHeadConfig, {"direction_offset_rad": NAN}),
    (AnchorHeadConfig, {"prior_probability": 0.0}),
    (AnchorHeadConfig, {"prior_probability": 1.0}),
    (IouHeadConfig, {"grid_size": 33}),
    (IouHeadConfig, {"widths": (256, 0)}),
    (IouHeadConfig, {"dropout": -0.1}),
    (IouHeadConfig, {"pooling": ""}),
    (RoiGridConfig, {"grid_size": 0}),
    (RoiGridConfig, {"widths": (5000, 256)}),
    (RoiGridConfig, {"dropout": 1.1}),
    (ProposalConfig, {"pre_max": 0}),
    (ProposalConfig, {"post_max": 10**9}),
    (ProposalConfig, {"iou_threshold": NAN}),
    (SelectionConfig, {"score_threshold": 1.1}),
    (SelectionConfig, {"pre_max": -1}),
    (SelectionConfig, {"post_max": 0}),
    (SelectionConfig, {"iou_threshold": -0.1}),
]


@pytest.mark.parametrize(("config_class", "values"), WRONG)
def test_wrong_values_are_refused_by_name(config_class: type, values: dict[str, Any]) -> None:
    name = config_class.__name__
    with pytest.raises(InvalidValueError, match=rf"{name}\.[a-z_, ]*: expected .* got ") as caught:
        config_class(**values)
    # A range that does not fit the voxels may be meant when only one of the two was changed.
    assert any(field in str(caught.value) for field in values) or "point_range_m" in str(caught.value)


def test_sides_that_floats_only_approach_are_whole_numbers_of_voxels() -> None:
    config = VoxelConfig(point_range_m=(-75.2, -75.2, -2.0, 75.2, 75.2, 4.0), voxel_size_m=(0.1, 0.1, 0.15))
    assert config.grid_shape == (40, 1504, 1504)
    assert VoxelConfig(point_range_m=(0.0, 0.0, 0.0, 409.6, 0.1, 25.6), voxel_size_m=(0.1, 0.1, 0.1)).grid_shape == (
        256,
        1,
        4096,
    )


@pytest.mark.parametrize("shape", [(1, 10), (10, 1), (0, 5), (2048, 2048)])
def test_maps_without_room_or_with_too_many_anchors(shape: tuple[int, int]) -> None:
    with pytest.raises(InvalidValueError, match="anchors: expected a map of at least 2 x 2 cells"):
        make_anchors(AnchorHeadConfig().classes, VoxelConfig().point_range_m, shape)
