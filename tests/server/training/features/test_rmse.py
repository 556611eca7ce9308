from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from server.training.augmentations.ground_truth_sampling import GroundTruthSampling, GroundTruthSamplingConfig
from server.training.features.bank_building import build_bank
from server.training.features.extraction import extract_points, extract_scan
from server.training.features.feature_ground_truth import FeatureGroundTruth, FeatureGroundTruthConfig
from server.training.features.rmse import MEASURED, RmseConfig, RmseMeter, grid_rmse, set_rmse
from server.training.ground_truth_database import build_database
from shared_models.detectors import build
from shared_models.errors import ConfigError, UnknownNameError
from shared_models.records import SetFeatures
from tests.feature_scenes import MAP, dense, make_grid, make_keypoints
from tests.labelled_scenes import make_scan

NAMES = tuple(f"f{k}" for k in range(4))
SCANS = [make_scan(seed=k, frame_id=name, spread_m=6.0 + k / 2) for k, name in enumerate(NAMES)]
FIELDS = ("x", "y", "z", "intensity")


@pytest.mark.parametrize("seed", range(3))
def test_cells_against_the_dense_maps(seed):
    a, b = make_grid(seed, 0.3), make_grid(seed + 50, 0.2)
    one, two = dense(a), dense(b)
    squares = (one - two) ** 2
    union = (one != 0).any(-1) | (two != 0).any(-1)
    columns = np.arange(300, 900)
    boxed = union & np.isin(np.arange(MAP.cells_bev), columns).reshape(MAP.shape[1:])
    assert grid_rmse(a, b) == pytest.approx(math.sqrt(squares[union].mean()), rel=1e-6)
    assert grid_rmse(a, b, "all") == pytest.approx(math.sqrt(squares.mean()), rel=1e-6)
    assert grid_rmse(a, b, "boxes", columns) == pytest.approx(math.sqrt(squares[boxed].mean()), rel=1e-6)
    assert grid_rmse(a, a) == 0


def test_nothing_to_compare_is_not_a_number():
    empty = make_grid(0, 0)
    assert math.isnan(grid_rmse(empty, empty))
    assert math.isnan(grid_rmse(make_grid(0), make_grid(1), "boxes"))
    assert math.isnan(set_rmse(make_keypoints(0, 0), make_keypoints(0)))


def test_keypoints_are_compared_with_the_nearest():
    a, b = make_keypoints(0, 2500), make_keypoints(1, 700)
    apart = np.linalg.norm(a.positions.double().numpy()[:, None] - b.positions.double().numpy()[None], axis=2)
    expected = a.features.double().numpy() - b.features.double().numpy()[apart.argmin(axis=1)]
    assert set_rmse(a, b) == pytest.approx(math.sqrt((expected**2).mean()), rel=1e-6)
    shuffled = torch.randperm(2500, generator=torch.Generator().manual_seed(0))
    assert set_rmse(a, SetFeatures(positions=a.positions[shuffled], features=a.features[shuffled])) == 0


@pytest.fixture(scope="module", params=["second_iou", "pv_rcnn"])
def meter(request):
    detector = build(request.param, "tiny", seed=2)
    bank, database = build_bank(SCANS[:3], NAMES, detector), build_database(SCANS[:3], NAMES, FIELDS)
    return RmseMeter(RmseConfig(), detector, bank, database)


def test_every_augmentation_has_an_error(meter):
    for name in MEASURED:
        errors = meter.measure(name, SCANS[3], np.random.default_rng(0))
        again = meter.measure(name, SCANS[3], np.random.default_rng(0))
        assert errors == again
        assert 0 < errors.grid < 100
        assert (errors.keypoints is None) == (meter.detector.name == "second_iou")
        assert errors.keypoints is None or 0 < errors.keypoints < 100


def test_both_sides_of_ground_truth_sampling_get_the_same_objects(meter):
    bank, database = meter._in_features.bank, meter._in_points.database
    rows = np.array([3, 9, 14])
    raw = GroundTruthSampling(GroundTruthSamplingConfig(), database).inserted(SCANS[3], meter._twins[rows])
    sampler = FeatureGroundTruth(FeatureGroundTruthConfig(), bank)
    features = sampler.inserted(extract_scan(SCANS[3], meter.detector), rows, np.random.default_rng(0))
    np.testing.assert_array_equal(raw.truth.boxes, features.truth.boxes)
    np.testing.assert_array_equal(raw.truth.labels, features.truth.labels)
    made = extract_points(raw.points, meter.detector).grid
    untouched = extract_points(SCANS[3].points, meter.detector).grid
    columns = meter.feature_map.footprints(bank.boxes[rows]).cells
    pasted = grid_rmse(made, features.features.grid, "boxes", columns)
    assert pasted < 0.9 * grid_rmse(made, untouched, "boxes", columns)  # nearer than leaving the scene as it is


def test_what_is_missing_is_named(meter):
    with pytest.raises(UnknownNameError, match="measured augmentation"):
        meter.measure("noise", SCANS[3], np.random.default_rng(0))
    bare = RmseMeter(RmseConfig(), meter.detector)
    with pytest.raises(ConfigError, match="needs the feature bank"):
        bare.measure("ground_truth", SCANS[3], np.random.default_rng(0))
    bank, database = meter._in_features.bank, meter._in_points.database
    with pytest.raises(ConfigError, match="give both"):
        RmseMeter(RmseConfig(), meter.detector, bank)
    with pytest.raises(ConfigError, match="is in the feature bank and not in the raw database"):
        RmseMeter(RmseConfig(), meter.detector, bank, replace(database, boxes=database.boxes + np.float32(1)))


def test_several_reductions_are_of_one_pair(meter):
    names = ("union", "all", "boxes")
    for name in MEASURED:
        each = meter.measure_each(name, SCANS[3], np.random.default_rng(0), names)
        for reduction in names:
            alone = RmseMeter(
                RmseConfig(reduction=reduction), meter.detector, meter._in_features.bank, meter._in_points.database
            )
            assert alone.measure(name, SCANS[3], np.random.default_rng(0)) == each[reduction]
        assert each["all"].grid < each["union"].grid  # the same squares over more cells
