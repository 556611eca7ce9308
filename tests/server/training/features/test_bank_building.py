from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from server.training.features.bank_building import build_bank
from server.training.features.extraction import extract_scan
from server.training.features.feature_ground_truth import FeatureGroundTruth, FeatureGroundTruthConfig
from server.training.features.geometry import FeatureMap
from server.training.features.object_bank import FeatureBankConfig
from server.training.samples import Truth
from shared_models.detectors import build
from shared_models.errors import InvalidValueError
from tests.labelled_scenes import empty_scan, is_inside, make_scan

SCANS = {f"f{k}": make_scan(seed=k, frame_id=f"f{k}", spread_m=7.0) for k in range(3)}
LABELLED = ("f0", "f1", "empty")


@pytest.fixture(scope="module", params=["second_iou", "pv_rcnn"])
def detector(request):
    return build(request.param, "tiny", seed=1)


def made(detector, names=("f0", "f1"), labelled=LABELLED, **settings):
    scans = [SCANS[name] for name in names]
    return build_bank([*scans, empty_scan()], labelled, detector, FeatureBankConfig(**settings))


def test_objects_have_the_cells_and_keypoints_of_their_scene(detector):
    bank, feature_map = made(detector, margin_m=0.4), FeatureMap.of(detector.config.voxels)
    assert len(bank) == 12
    assert bank.backbone_hash == detector.backbone_hash
    assert bank.frame_ids == {"f0", "f1", "empty"}
    for row, frame in enumerate(bank.object_frames):
        scene = extract_scan(SCANS[frame], detector).features
        box = bank.boxes[row]
        enlarged = box + np.array([0, 0, 0, 0.8, 0.8, 100, 0], np.float32)
        inside = is_inside(feature_map.centres(scene.grid.coords).numpy(), enlarged)
        own = slice(bank.cell_offsets[row], bank.cell_offsets[row + 1])
        np.testing.assert_array_equal(bank.coords[own], scene.grid.coords.numpy()[inside])
        np.testing.assert_array_equal(bank.features[own], scene.grid.features.numpy()[inside])
        if scene.keypoints is not None:
            held = is_inside(scene.keypoints.positions.numpy(), box)
            own = slice(bank.keypoint_offsets[row], bank.keypoint_offsets[row + 1])
            np.testing.assert_array_equal(bank.positions[own], scene.keypoints.positions.numpy()[held])
            np.testing.assert_array_equal(bank.keypoint_features[own], scene.keypoints.features.numpy()[held])
    assert (len(bank.positions) > 0) == (bank.keypoint_count > 0)


def test_pasting_objects_back_into_their_own_scene_changes_nothing(detector):
    bank, scan = made(detector, names=("f0",)), extract_scan(SCANS["f0"], detector)
    bare = replace(scan, truth=Truth.exact(np.empty((0, 7), np.float32), np.empty(0, np.int64)))
    augmentation = FeatureGroundTruth(FeatureGroundTruthConfig(), bank)
    back = augmentation.inserted(bare, np.arange(len(bank)), np.random.default_rng(0))
    assert len(back.truth) == len(scan.truth)
    assert torch.equal(back.features.grid.coords, scan.features.grid.coords)
    assert torch.equal(back.features.grid.features, scan.features.grid.features)
    if scan.features.keypoints is not None:
        rows = [
            torch.cat((scene.keypoints.positions, scene.keypoints.features), 1).numpy().tolist()
            for scene in (back.features, scan.features)
        ]
        assert sorted(rows[0]) == sorted(rows[1])


def test_frames_outside_the_split_are_refused(detector):
    with pytest.raises(InvalidValueError, match="feature bank: frame f2 is not in the labelled split"):
        made(detector, names=("f0", "f2"))
    with pytest.raises(InvalidValueError, match="came twice"):
        made(detector, names=("f0", "f0"))


def test_objects_with_few_points_and_pseudo_labels_are_left_out(detector):
    assert len(made(detector, names=("f0",), min_points=21)) == 0
    truth = SCANS["f0"].truth
    pseudo = replace(truth, is_exact=np.zeros(len(truth), bool))
    assert len(build_bank([replace(SCANS["f0"], truth=pseudo)], LABELLED, detector)) == 0


def test_object_only_features_do_not_know_the_scene(detector):
    def half(name: str):
        """The same objects in another background."""
        points = SCANS[name].points
        own = np.any([is_inside(points, box) for box in SCANS[name].truth.boxes], axis=0)
        keep = own | (points[:, 1] > 0)
        return replace(SCANS[name], points=points[keep])

    config = FeatureBankConfig(source="object_only")
    bank, other = (build_bank([scan], LABELLED, detector, config) for scan in (SCANS["f0"], half("f0")))
    np.testing.assert_array_equal(bank.features, other.features)
    scene, changed = (build_bank([scan], LABELLED, detector) for scan in (SCANS["f0"], half("f0")))
    assert scene.features.shape != changed.features.shape or not np.array_equal(scene.features, changed.features)
    assert len(bank) == 6
    if bank.keypoint_count:
        np.testing.assert_array_equal(bank.keypoint_offsets, scene.keypoint_offsets)


def test_a_detector_in_training_is_refused(detector):
    detector.train()
    try:
        with pytest.raises(InvalidValueError, match="training mode"):
            made(detector)
    finally:
        detector.eval()
