"""Making the bank of labelled objects with the frozen backbone."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from server.training.array_geometry import rows_in_boxes
from server.training.features.extraction import extract_points
from server.training.features.geometry import FeatureMap
from server.training.features.object_bank import OWNER, FeatureBank, FeatureBankConfig
from server.training.guarding import GuardedScenes
from server.training.samples import LabelledScan, Truth
from server.training.split_guard import refuse_outside
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import InvalidValueError
from shared_models.records import SceneFeatures, SetFeatures


@dataclass(frozen=True, slots=True, kw_only=True)
class _BankedObject:
    """One object: cells (S, 3) and (S, C), keypoints (P, 3) and (P, C')."""

    frame_id: str
    box: NDArray[np.float32]
    label: int
    coords: NDArray[np.int32]
    features: NDArray[np.floating[Any]]
    positions: NDArray[np.float32]
    keypoint_features: NDArray[np.floating[Any]]


def build_bank(
    scans: Iterable[LabelledScan],
    labelled: Collection[str],
    detector: AnchorDetector,
    config: FeatureBankConfig | None = None,
    guard: GuardedScenes | None = None,
) -> FeatureBank:
    """The bank of the exact, counted objects in `scans`; those without any active cell in their box are left out.

    labelled: names of the frames whose labels may be used; a scan of any other frame is refused.
    detector: whose backbone features are wanted, in evaluation mode; it runs on its own device.
    guard: that the features go through first; None leaves them as they are.

    Raises:
        InvalidValueError: a scan is not of the labelled split, comes twice, or has other point fields; the detector is
            in training mode, in which features differ from those of a vehicle.
    """
    config, allowed, seen = config or FeatureBankConfig(), frozenset(labelled), set[str]()
    if detector.training:
        raise InvalidValueError("feature bank: the detector is in training mode; call eval() first")
    feature_map, objects = FeatureMap.of(detector.config.voxels), list[_BankedObject]()
    for scan in scans:
        refuse_outside(OWNER, (scan.frame_id,), allowed, "the labelled split")
        if scan.frame_id in seen:
            raise InvalidValueError(f"feature bank: frame {scan.frame_id} came twice; give each frame once")
        seen.add(scan.frame_id)
        objects += _objects_of(scan, _Extraction(detector, guard, scan.frame_id), feature_map, config)
    return _joined(objects, frozenset(seen), detector, feature_map, config)


class _Extraction:
    """Features of a scan or a part of it, as vehicles with the guard have them."""

    def __init__(self, detector: AnchorDetector, guard: GuardedScenes | None, frame_id: str) -> None:
        self._detector, self._guard, self._frame_id = detector, guard, frame_id
        self.has_keypoints = hasattr(detector, "keypoint_channels")

    def __call__(self, points: NDArray[np.float32]) -> SceneFeatures:
        features = extract_points(points, self._detector)
        return features if self._guard is None else self._guard.apply(features, self._detector, self._frame_id)


def _objects_of(
    scan: LabelledScan, extract: _Extraction, feature_map: FeatureMap, config: FeatureBankConfig
) -> list[_BankedObject]:
    truth = scan.truth.chosen(scan.truth.is_exact & ~scan.truth.is_ignored)
    rows = rows_in_boxes(scan.points, truth.boxes)
    is_kept = np.array([len(inside) >= config.min_points for inside in rows], dtype=bool)
    if not is_kept.any():
        return []
    truth, rows = truth.chosen(is_kept), [inside for inside, kept in zip(rows, is_kept, strict=True) if kept]
    needs_scene = config.source == "scene" or extract.has_keypoints
    scene = extract(scan.points) if needs_scene else None
    objects = []
    for k, inside in enumerate(rows):
        source = scene
        if config.source == "object_only":
            source = _first_keypoints(extract(scan.points[inside]), scene, truth.boxes[k : k + 1])
        assert source is not None
        objects.append(_object(scan.frame_id, truth.chosen(np.array([k])), source, feature_map, config))
    return [banked for banked in objects if len(banked.coords)]


def _first_keypoints(alone: SceneFeatures, scene: SceneFeatures | None, box: NDArray[np.float32]) -> SceneFeatures:
    """Of the features of an object alone, only as many keypoints as its own scene has on it.

    Alone it would get all of a scene's keypoints, which are in the order of farthest-point sampling: its first ones
    are the sample of that size.
    """
    if alone.keypoints is None or scene is None or scene.keypoints is None:
        return alone
    count = len(rows_in_boxes(scene.keypoints.positions.cpu().numpy(), box)[0])
    keypoints = SetFeatures(positions=alone.keypoints.positions[:count], features=alone.keypoints.features[:count])
    return replace(alone, keypoints=keypoints)


def _object(
    frame_id: str, truth: Truth, source: SceneFeatures, feature_map: FeatureMap, config: FeatureBankConfig
) -> _BankedObject:
    covered = feature_map.footprints(truth.boxes, config.margin_m, includes_nearest=config.keeps_small).cells
    cells = np.isin(feature_map.numbers_bev(source.grid.coords).cpu().numpy(), covered)
    coords = source.grid.coords.cpu().numpy()[cells]
    features = source.grid.features[torch.from_numpy(cells)].cpu().numpy()
    positions, gathered = np.empty((0, 3), np.float32), np.empty((0, 0), np.float32)
    if source.keypoints is not None:
        everywhere = source.keypoints.positions.cpu().numpy()
        inside = rows_in_boxes(everywhere, truth.boxes)[0]
        positions = everywhere[inside]
        gathered = source.keypoints.features[torch.from_numpy(inside)].cpu().numpy()
    return _BankedObject(
        frame_id=frame_id,
        box=truth.boxes[0],
        label=int(truth.labels[0]),
        coords=coords,
        features=features.astype(config.dtype),
        positions=positions,
        keypoint_features=gathered.astype(config.dtype),
    )


def _joined(
    objects: list[_BankedObject],
    frame_ids: frozenset[str],
    detector: AnchorDetector,
    feature_map: FeatureMap,
    config: FeatureBankConfig,
) -> FeatureBank:
    channels, dtype = detector.config.backbone.out_channels, np.dtype(config.dtype)
    keypoint_channels = int(getattr(detector, "keypoint_channels", 0))
    points = getattr(detector.config, "points", None)

    def stacked(field: str, none: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([none, *(getattr(banked, field) for banked in objects)])

    def offsets(field: str) -> NDArray[np.int64]:
        return np.cumsum([0, *(len(getattr(banked, field)) for banked in objects)], dtype=np.int64)

    return FeatureBank(
        frame_ids=frame_ids,
        backbone_hash=detector.backbone_hash,
        split_layer=detector.split_layer,
        feature_map=feature_map,
        config=config,
        keypoint_count=0 if points is None else points.keypoint_count,
        boxes=np.array([banked.box for banked in objects], dtype=np.float32).reshape(-1, 7),
        labels=np.array([banked.label for banked in objects], dtype=np.int64),
        object_frames=tuple(banked.frame_id for banked in objects),
        coords=stacked("coords", np.empty((0, 3), np.int32)),
        features=stacked("features", np.empty((0, channels), dtype)),
        cell_offsets=offsets("coords"),
        positions=stacked("positions", np.empty((0, 3), np.float32)),
        keypoint_features=stacked("keypoint_features", np.empty((0, keypoint_channels), dtype)),
        keypoint_offsets=offsets("positions"),
    )
