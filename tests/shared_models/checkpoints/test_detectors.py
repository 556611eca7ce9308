"""Checkpoints of the real detectors, small ones, and the reference files where they are at hand."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

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
