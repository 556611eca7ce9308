from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from shared_models import checkpoints, detectors
from shared_models.errors import DeviceError, UnknownNameError
from shared_models.parity import compare, read_case
from upcycle.parity import app


@pytest.fixture
def own_case(tmp_path: Path) -> tuple[Path, Path]:
    """A case that a tiny detector wrote about itself, and its checkpoint."""
    detector = detectors.build("second_iou", "tiny", seed=4)
    generator = np.random.default_rng(0)
    points = generator.uniform([1, -15, -1.7, 0], [34, 15, 0, 1], (2000, 4)).astype(np.float32)
    with torch.inference_mode():
        voxels = detector.voxelize([torch.from_numpy(points)])
        first = detector.first_stage(detector.stages(voxels).conv_out)
    case = tmp_path / "case"
    case.mkdir()
    np.save(case / "points.npy", points)
    coords = voxels.cells.sites.coords.numpy()
    shuffled = generator.permutation(len(coords))
    np.savez(
        case / "expected.npz",
        voxel_coords=coords[shuffled],
        voxel_features=voxels.cells.features.numpy()[shuffled],
        head_cls_preds=first.predictions.class_logits.numpy(),
    )
    checkpoints.save(detector, tmp_path / "model", is_trained=False)
    return case, tmp_path / "model"


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_own_case_passes_and_json_says_so(own_case) -> None:
    case, model = own_case
    result = run(case, "--checkpoint", model, "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["passed"] is True
    assert [stage["stage"] for stage in report["stages"]] == ["voxels", "head_cls_preds"]
    assert report["max_relative_error"] <= 1e-4
    assert len(report["backbone_hash"]) == 64


def test_another_model_fails_with_exit_code_1(own_case, tmp_path: Path) -> None:
    case, _ = own_case
    checkpoints.save(detectors.build("second_iou", "tiny", seed=5), tmp_path / "other", is_trained=False)
    result = run(case, "--checkpoint", tmp_path / "other")
    assert result.exit_code == 1
    assert "differs" in result.stdout
    assert f"backbone {checkpoints.read_manifest(tmp_path / 'other').backbone_hash}\n" in result.stdout
    assert "failed at a tolerance of 0.0001" in result.stdout


def test_what_cannot_be_compared_is_null_in_json(own_case) -> None:
    case, model = own_case
    expected = dict(np.load(case / "expected.npz"))
    np.savez(case / "expected.npz", **(expected | {"voxel_coords": expected["voxel_coords"][:5]}))
    result = run(case, "--checkpoint", model, "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["max_relative_error"] is None
    assert "other voxels" in report["stages"][0]["note"]


def test_engine_and_device_that_are_not_there(own_case) -> None:
    case, model = own_case
    assert isinstance(run(case, "--checkpoint", model, "--engine", "cudnn").exception, UnknownNameError)
    assert isinstance(run(case, "--checkpoint", model, "--device", "abacus").exception, DeviceError)
    if not torch.cuda.is_available():
        assert isinstance(run(case, "--checkpoint", model, "--engine", "spconv").exception, DeviceError)


@pytest.mark.data
@pytest.mark.parametrize("name", ["second_iou_kitti", "pv_rcnn_kitti"])
def test_golden_case_from_an_openpcdet_file(golden_root: Path, tmp_path: Path, name: str) -> None:
    weights = tmp_path / "weights.pth"
    subprocess.run([sys.executable, golden_root / "make_checkpoint.py", name, weights], check=True, capture_output=True)
    detector = checkpoints.open_checkpoint(weights)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results = compare(detector, read_case(golden_root / name))
            assert max(result.relative_error for result in results) <= 1e-4, f"{threads} threads"
    finally:
        torch.set_num_threads(before)
