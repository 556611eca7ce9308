"""Does this build compute the reference features? Runs a golden case stage by stage and measures the difference.

A case folder holds `points.npy` (N, 4) float32 and `expected.npz`: the stages of one forward pass of a reference
implementation, some in full, some sampled (docs/parity.md).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared_models.backbones.voxelizer import Voxels, crop_to_range
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.detectors.pv_rcnn import PvRcnn
from shared_models.detectors.second_iou import SecondIou
from shared_models.errors import DatasetError, InvalidValueError
from shared_models.sparse.tensor import SparseFeatures

# What a sparse stage (with "num") and a sampled dense stage (with "index") consist of.
_PARTS = {"num": ("coords_sorted_crc", "row", "features", "sum", "abs"), "index": ("value", "shape", "sum", "abs")}
SPARSE_STAGES = ("conv1", "conv2", "conv3", "conv4", "conv_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """One compared stage.

    count: values compared. max_abs: the reference's largest magnitude.
    relative_error: largest difference over `max_abs`; infinite where shapes, sites or finiteness differ.
    note: what is wrong in that case.
    """

    stage: str
    count: int
    max_abs: float
    relative_error: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityCase:
    """A golden case: `points` (N, 4) float32 and the reference's arrays by name."""

    points: NDArray[np.float32]
    expected: dict[str, NDArray[Any]]


def read_case(folder: Path) -> ParityCase:
    """The case in `folder`.

    Raises:
        DatasetError: a file is missing, damaged or of another form.
    """
    try:
        points = np.load(folder / "points.npy", allow_pickle=False)
        with np.load(folder / "expected.npz", allow_pickle=False) as archive:
            expected = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise DatasetError(f"{error.filename}: missing; a parity case has points.npy and expected.npz") from error
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise DatasetError(f"{folder}: points.npy or expected.npz cannot be read: {error}") from error
    _check_expected(folder / "expected.npz", expected)
    if points.ndim != 2 or points.shape[1] != 4 or points.dtype != np.float32:
        raise DatasetError(f"{folder / 'points.npy'}: expected (N, 4) float32, got {points.shape} {points.dtype}")
    return ParityCase(points=points, expected=expected)


def _check_expected(path: Path, expected: dict[str, NDArray[Any]]) -> None:
    """Every stage has all its arrays, and sampled positions lie inside it."""
    for key in expected:
        stage, _, part = key.rpartition(".")
        if part not in _PARTS:
            continue
        missing = [name for name in _PARTS[part] if f"{stage}.{name}" not in expected]
        if missing:
            raise DatasetError(f"{path}: stage {stage} has {part} but lacks {', '.join(missing)}")
        size = int(expected[key]) if part == "num" else int(np.prod(expected[f"{stage}.shape"], dtype=np.int64))
        positions = expected[f"{stage}.row" if part == "num" else key]
        if positions.size and not 0 <= int(positions.min()) <= int(positions.max()) < size:
            raise DatasetError(f"{path}: stage {stage} has {size} positions, its samples reach to {positions.max()}")


def compare(detector: AnchorDetector, case: ParityCase) -> list[StageResult]:
    """Every stage that the case has and the detector computes, in the order of the forward pass.

    Raises:
        InvalidValueError: there is none after the voxels, so that nothing of the network would be compared.
    """
    device = next(detector.parameters()).device
    points = torch.from_numpy(case.points).to(device)
    with torch.inference_mode():
        results = list(_compare_all(detector, points, case.expected))
    if all(result.stage == "voxels" for result in results):
        raise InvalidValueError(f"the parity case has no stage that a {detector.name} computes from the voxels on")
    return results


def _compare_all(detector: AnchorDetector, points: Tensor, expected: dict[str, NDArray[Any]]) -> Iterator[StageResult]:
    voxels = detector.voxelize([points])
    if "voxel_coords" in expected:
        yield from _compare_voxels(voxels.cells, expected)
    stages = detector.stages(voxels)
    for name in SPARSE_STAGES:
        if f"x_{name}.num" in expected:
            yield _compare_sparse(f"x_{name}", getattr(stages, name), expected)
    for name, value in _dense_stages(detector, points, voxels, stages, expected):
        if _is_recorded(name, expected):
            yield _compare_dense(name, value, expected)


def _dense_stages(
    detector: AnchorDetector, points: Tensor, voxels: Voxels, stages: Any, expected: dict[str, NDArray[Any]]
) -> Iterator[tuple[str, Tensor]]:
    first = detector.first_stage(stages.conv_out)
    yield "spatial_features", stages.conv_out.bev_map()
    yield "spatial_features_2d", first.bev
    yield "head_cls_preds", first.predictions.class_logits
    yield "head_box_preds", first.predictions.box_codes
    yield "head_dir_cls_preds", first.predictions.direction_logits
    yield "dense_cls", detector.dense_head.class_logits(first.predictions)
    yield "dense_boxes", detector.dense_head.decode(first.predictions)
    rois = torch.from_numpy(expected["rois"][0]).to(points.device) if "rois" in expected else None
    if isinstance(detector, PvRcnn):
        (keypoints,) = detector.pfe.gather([crop_to_range(points, detector.config.voxels)], voxels, stages)
        yield "point_coords", torch.nn.functional.pad(keypoints.positions, (1, 0))
        yield "point_features_before_fusion", keypoints.features
        yield "point_features", detector.pfe.fuse(keypoints.features)
        yield "point_cls_scores", torch.sigmoid(detector.point_head(keypoints.features))
        if rois is not None:
            (refined,) = detector.refine([rois], [keypoints])
            yield "rcnn_cls", refined.logits[None, :, None]
            yield "rcnn_boxes", refined.boxes[None]
    if isinstance(detector, SecondIou) and rois is not None:
        # It scores its proposals and leaves them where they are: their boxes would only be compared with themselves.
        yield "rcnn_cls", detector.roi_head(first.bev, [rois])[0][None, :, None]


def _compare_voxels(cells: SparseFeatures, expected: dict[str, NDArray[Any]]) -> Iterator[StageResult]:
    coords, features = expected["voxel_coords"], expected["voxel_features"]
    order = np.lexsort(coords.T[::-1])
    mine = cells.sites.coords.cpu().numpy()
    if mine.shape != coords.shape or not np.array_equal(mine, coords[order]):
        yield _failed("voxels", f"other voxels: {len(mine)} here, {len(coords)} in the reference")
        return
    yield _result("voxels", cells.features.cpu().numpy(), features[order])


def _compare_sparse(name: str, cells: SparseFeatures, expected: dict[str, NDArray[Any]]) -> StageResult:
    count = int(expected[f"{name}.num"])
    if len(cells.sites) != count:
        return _failed(name, f"{len(cells.sites)} active sites here, {count} in the reference")
    coords = np.ascontiguousarray(cells.sites.coords.cpu().numpy(), dtype=np.int32)
    if zlib.crc32(coords.tobytes()) != int(expected[f"{name}.coords_sorted_crc"]):
        return _failed(name, "other active sites than in the reference")
    features = cells.features.double().cpu().numpy()
    return _with_sums(
        _result(name, features[expected[f"{name}.row"]], expected[f"{name}.features"]), features, expected
    )


def _compare_dense(name: str, value: Tensor, expected: dict[str, NDArray[Any]]) -> StageResult:
    array = value.double().cpu().numpy()
    if f"{name}.index" not in expected:
        reference = expected.get(f"{name}.full", expected.get(name))
        assert reference is not None
        return _result(name, array, reference)
    shape = tuple(expected[f"{name}.shape"].tolist())
    if array.shape != shape:
        return _failed(name, f"shape {array.shape} here, {shape} in the reference")
    sampled = _result(name, array.reshape(-1)[expected[f"{name}.index"]], expected[f"{name}.value"])
    return _with_sums(sampled, array, expected)


def _is_recorded(name: str, expected: dict[str, NDArray[Any]]) -> bool:
    return any(key in expected for key in (name, f"{name}.full", f"{name}.index"))


def _result(name: str, mine: NDArray[Any], reference: NDArray[Any]) -> StageResult:
    if mine.shape != reference.shape:
        return _failed(name, f"shape {mine.shape} here, {reference.shape} in the reference")
    if not np.isfinite(mine).all():
        return _failed(name, "values that are not finite")
    largest = float(np.abs(reference).max(initial=0.0))
    error = float(np.abs(mine.astype(np.float64) - reference).max(initial=0.0))
    return StageResult(
        stage=name, count=mine.size, max_abs=largest, relative_error=error / largest if largest else error
    )


def _with_sums(result: StageResult, array: NDArray[Any], expected: dict[str, NDArray[Any]]) -> StageResult:
    """Sampled values can miss a fault; sums over everything cannot hide a large one."""
    scale = float(expected[f"{result.stage}.abs"])
    sums = ((array.sum(), f"{result.stage}.sum"), (np.abs(array).sum(), f"{result.stage}.abs"))
    error = max(abs(float(mine) - float(expected[key])) for mine, key in sums) / (scale or 1.0)
    worst = max(result.relative_error, error)
    return StageResult(
        stage=result.stage, count=result.count, max_abs=result.max_abs, relative_error=worst, note=result.note
    )


def _failed(name: str, note: str) -> StageResult:
    return StageResult(stage=name, count=0, max_abs=0.0, relative_error=float("inf"), note=note)
