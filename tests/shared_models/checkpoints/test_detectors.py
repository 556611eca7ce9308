"""Checkpoints of the real detectors, small ones, and the reference files where they are at hand."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from shared_models import checkpoints, detectors
from shared_models.errors import CheckpointError

SHARED = Path(os.environ.get("UPCYCLE_SHARED", Path(__file__).parents[4] / "shared"))
each_detector = pytest.mark.parametrize("name", sorted(detectors.DETECTORS))


@each_detector
def test_a_saved_detector_computes_the_same_features(tmp_path: Path, name: str) -> None:
    detector = detectors.build(name, "tiny", seed=3)
    checkpoints.save(detector, tmp_path / "a", is_trained=False)
    before = torch.get_rng_state()
    back = checkpoints.open_checkpoint(tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), before)  # the caller's random numbers are left alone
    assert back.config == detector.config
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(500, 4, generator=generator) * torch.tensor([30.0, 20.0, 2.0, 1.0]) - torch.tensor(
        [0.0, 10.0, 2.0, 0.0]
    )
    with torch.no_grad():
        expected, found = detector.extract(points), back.extract(points)
    assert torch.equal(found.grid.coords, expected.grid.coords)
    assert torch.equal(found.grid.features, expected.grid.features)
    assert found.backbone_hash == expected.backbone_hash


@each_detector
def test_a_pth_file_finds_its_detector_and_a_setting_of_its_shapes(tmp_path: Path, name: str) -> None:
    detector = detectors.build(name, "tiny", seed=3, for_openpcdet=True)
    torch.save({"model_state": detector.state_dict()}, tmp_path / "a.pth")
    for setting in ("tiny", None):
        back = checkpoints.open_checkpoint(tmp_path / "a.pth", setting=setting)
        assert back.name == name
        assert back.config == detector.config
        assert back.backbone_hash == detector.backbone_hash
        assert not back.training
    with pytest.raises(CheckpointError, match=rf"as {name}, setting kitti.*misshapen parameter 'backbone_3d\."):
        checkpoints.open_checkpoint(tmp_path / "a.pth", setting="kitti")


@pytest.mark.data
@pytest.mark.parametrize(("case", "name"), [("second_iou_kitti", "second_iou"), ("pv_rcnn_kitti", "pv_rcnn")])
def test_the_reference_checkpoints_fit_the_detectors(tmp_path: Path, case: str, name: str) -> None:
    script = SHARED / "golden" / "make_checkpoint.py"
    if not script.exists():
        pytest.skip(f"no reference data at {script.parent}; set UPCYCLE_SHARED to the shared data folder")
    spec = importlib.util.spec_from_file_location("make_checkpoint", script)
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    expected = maker.state_dict(case)
    torch.save({"model_state": expected, "epoch": 80, "it": 0, "version": "pcdet+0.6.0"}, tmp_path / "a.pth")
    detector = checkpoints.open_checkpoint(tmp_path / "a.pth")
    assert detector.name == name
    assert detector.config == detectors.build(name, "kitti", for_openpcdet=True).config
    state = detector.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in expected.items() if key in state)
    checkpoints.save(detector, tmp_path / "own", is_trained=False)
    assert checkpoints.load(tmp_path / "own").backbone_hash == detector.backbone_hash


def put(*keys: str | int, value: Any) -> Callable[[Any], None]:
    def change(configuration: Any) -> None:
        for key in keys[:-1]:
            configuration = configuration[key]
        configuration[keys[-1]] = value

    return change


def widen(configuration: Any) -> None:
    """Each width is allowed, the network of them would take hundreds of GB."""
    configuration["backbone"] |= {"stage_channels": [4096] * 4, "out_channels": 4096}
    configuration["bev"] |= {"channels": [4096] * 2, "upsample_channels": [4096] * 2}
    configuration["roi"] |= {"grid_size": 32, "widths": [4096, 4096]}


HOSTILE = [
    (put("voxels", "voxel_size_m", value=[0.0, 0.1, 0.1]), "VoxelConfig.voxel_size_m: expected 0.001 to 100, got 0.0"),
    (put("voxels", "voxel_size_m", value=[10**400, 1, 1]), "voxel_size_m.*expected finite float"),
    (put("voxels", "point_range_m", value=[-1e6, -1e6, -3, 1e6, 1e6, 1]), "VoxelConfig.point_range_m: .*-1000000"),
    (put("voxels", "point_range_m", value=[-9e3, -9e3, -3, 9e3, 9e3, 1]), "point_range_m: .*1 to 4096, got 180000"),
    (put("voxels", "point_range_m", value=[10, 10, 1, -10, -10, -3]), "point_range_m: .*1 to 4096, got -200"),
    (put("voxels", "point_range_m", value=[0, -20, -3, 35.2, 20, -2]), "expected a bird's-eye map"),
    (put("voxels", "point_range_m", value=[0, -20, -3, 35.9, 20, 1]), "each side a multiple of 2"),
    (put("voxels", "max_points_per_voxel", value=0), "VoxelConfig.max_points_per_voxel: expected an integer of 1"),
    (put("backbone", "out_channels", value=-1), "BackboneConfig.out_channels: .*1 to 4096, got -1"),
    (put("backbone", "out_channels", value=10**9), "BackboneConfig.out_channels: .*1 to 4096, got 1000000000"),
    (put("backbone", "stage_channels", value=[16, 16, 32]), "backbone.stage_channels: expected 4 values, got 3"),
    (put("anchors", "classes", value=[]), "AnchorHeadConfig.classes: expected 1 to 64 entries, got 0"),
    (put("anchors", "classes", 0, "name", value="../x"), "AnchorClass.name: expected 1 to 64 printable"),
    (put("bev", "layer_counts", value=[3]), "BevConfig.layer_counts, .*equally many each, got 1, 2, 2, 2, 2"),
    (put("roi", "pooling", value="nonsense"), "IouHeadConfig.pooling: expected rotated or openpcdet, got 'nonsense'"),
    (put("roi", "grid_size", value=0), "IouHeadConfig.grid_size: expected an integer of 1 to 32, got 0"),
    (put("selection", "iou_threshold", value=7.0), "SelectionConfig.iou_threshold: expected 0 to 1, got 7.0"),
    (widen, "does not fit the network"),
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "a"
    checkpoints.save(detectors.build("second_iou", "tiny"), folder, is_trained=False)
    return folder


@pytest.mark.parametrize(("change", "message"), HOSTILE)
def test_hostile_configurations_are_refused(
    tmp_path: Path, saved: Path, change: Callable[[Any], None], message: str
) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    change(manifest["configuration"])
    (tmp_path / "model.safetensors").symlink_to(saved / "model.safetensors")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=rf"manifest\.json: .*{message}"):
        checkpoints.load(tmp_path)
