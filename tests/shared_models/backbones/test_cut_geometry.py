"""Against hand-worked cells, and against what the backbone itself activates for single points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_models import detectors
from shared_models.backbones.cut_geometry import LAYERS, CutGeometry
from shared_models.backbones.voxelizer import VoxelConfig
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import InvalidValueError, UnknownNameError


def test_conv_out_cells_of_kitti_by_hand() -> None:
    geometry = CutGeometry.of(VoxelConfig(), "conv_out")
    assert geometry.stride == (16, 8, 8)
    assert geometry.cell_size_m == pytest.approx((0.4, 0.4, 1.6))
    # On z, slice o of conv4 sees around slice 2 o + 1 of conv3, which is voxel 4 (2 o + 1), and slice o of conv_out
    # around slice 2 o + 1 of conv4.
    assert geometry.offset == (12, 0, 0)
    centres = geometry.centres_m(np.array([[0, 0, 0], [1, 100, 7]]))
    assert centres[0] == pytest.approx([0.025, -39.975, -1.75])
    assert centres[1] == pytest.approx([7 * 0.4 + 0.025, 0.025, -0.15])


@pytest.mark.parametrize("layer", LAYERS)
def test_a_single_point_activates_cells_around_it(layer: str) -> None:
    detector = detectors.build("second_iou", "tiny")
    assert isinstance(detector, AnchorDetector)
    geometry = CutGeometry.of(detector.config.voxels, layer)
    generator = torch.Generator().manual_seed(0)
    low, high = torch.tensor(geometry.point_range_m[:3]) + 3, torch.tensor(geometry.point_range_m[3:]) - 2
    low[2], high[2] = -1.7, -0.3
    for _ in range(5):
        point = low + torch.rand(3, generator=generator) * (high - low)
        with torch.inference_mode():
            stages = detector.stages(detector.voxelize([torch.cat((point, torch.ones(1)))[None]]))
        active = getattr(stages, layer).sites.coords[:, 1:].numpy()
        reach = np.array(geometry.cell_size_m) + np.array(geometry.voxel_size_m)
        apart = np.abs(geometry.centres_m(active) - point.numpy())
        assert len(active) >= 1
        assert (apart <= reach + 1e-6).all()


def test_inside_takes_the_lower_border_and_not_the_upper() -> None:
    geometry = CutGeometry.of(VoxelConfig(), "conv1")
    points = np.array([[0, -40, -3], [70.4, 0, 0], [5, 0, 1], [5, 0, 0.99]])
    assert geometry.inside(points).tolist() == [True, False, False, True]


def test_wrong_layers_and_ranges_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="conv_out"):
        CutGeometry.of(VoxelConfig(), "conv9")
    with pytest.raises(InvalidValueError, match="minima below maxima"):
        CutGeometry(split_layer="conv1", point_range_m=(0, 0, 0, 1, 0, 1), voxel_size_m=(0.1, 0.1, 0.1))
