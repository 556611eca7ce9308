from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from shared_models import detectors
from shared_models.errors import DatasetError, InvalidValueError
from shared_models.parity import ParityCase, compare, read_case

STAGES = {"second_iou": 14, "pv_rcnn": 19}


def golden_detector(golden_root: Path, name: str):
    """The detector with the golden case's weights."""
    spec = importlib.util.spec_from_file_location("make_checkpoint", golden_root / "make_checkpoint.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    state = module.state_dict(f"{name}_kitti")
    state.pop("global_step")
    detector = detectors.build(name, "kitti", for_openpcdet=True)
    detector.load_state_dict(state)
    return detector


@pytest.mark.data
@pytest.mark.parametrize("name", STAGES)
def test_every_stage_reproduces_the_reference(golden_root: Path, name: str) -> None:
    results = compare(golden_detector(golden_root, name), read_case(golden_root / f"{name}_kitti"))
    assert len(results) == STAGES[name]
    worst = {result.stage: result.relative_error for result in results if result.relative_error > 1e-4}
    assert worst == {}


@pytest.mark.data
def test_a_changed_weight_shows_at_its_stage_and_after(golden_root: Path) -> None:
    detector = golden_detector(golden_root, "second_iou")
    with torch.no_grad():
        detector.backbone_3d.conv3[1][0].weight.mul_(1.01)
    results = {r.stage: r.relative_error for r in compare(detector, read_case(golden_root / "second_iou_kitti"))}
    assert results["x_conv2"] < 1e-4
    assert results["x_conv3"] > 1e-4
    assert results["head_cls_preds"] > 1e-4


def test_other_voxels_are_a_named_difference() -> None:
    detector = detectors.build("second_iou", "tiny")
    points = np.float32([[5, 0, -1, 0.5], [6, 1, -1, 0.5]])
    voxels = {"voxel_coords": np.int32([[0, 1, 2, 3]]), "voxel_features": np.zeros((1, 4), np.float32)}
    sparse = {"x_conv1.num": np.int64(7)}
    results = compare(detector, ParityCase(points=points, expected=voxels | sparse))
    assert [r.note for r in results] == [
        "other voxels: 2 here, 1 in the reference",
        "2 active sites here, 7 in the reference",
    ]
    assert all(math.isinf(r.relative_error) for r in results)


def test_a_case_that_compares_nothing_of_the_network_is_refused() -> None:
    detector = detectors.build("second_iou", "tiny")
    rois = {"rois": np.zeros((1, 2, 7), np.float32), "rcnn_boxes": np.zeros((1, 2, 7), np.float32)}
    with pytest.raises(InvalidValueError, match="no stage that a second_iou computes"):
        compare(detector, ParityCase(points=np.zeros((1, 4), np.float32), expected=rois))


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"x_conv1.num": np.int64(3), "x_conv1.features": np.zeros((1, 4))}, "lacks coords_sorted_crc, row, sum, abs"),
        ({"dense_cls.index": np.array([5])}, "dense_cls has index but lacks value"),
        (
            {
                f"a.{k}": np.array(v)
                for k, v in {"index": [6], "value": [0], "shape": [2, 3], "sum": 0, "abs": 0}.items()
            },
            "6 positions, its samples reach to 6",
        ),
    ],
)
def test_incomplete_stages_are_named(tmp_path: Path, expected, message: str) -> None:
    np.save(tmp_path / "points.npy", np.zeros((1, 4), np.float32))
    np.savez(tmp_path / "expected.npz", **expected)
    with pytest.raises(DatasetError, match=message):
        read_case(tmp_path)


def test_bad_case_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"points\.npy: missing"):
        read_case(tmp_path)
    np.savez(tmp_path / "expected.npz", a=np.zeros(1))
    np.save(tmp_path / "points.npy", np.zeros((3, 3), np.float32))
    with pytest.raises(DatasetError, match=r"expected \(N, 4\) float32, got \(3, 3\)"):
        read_case(tmp_path)
    (tmp_path / "points.npy").write_bytes(b"not an array")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_case(tmp_path)
