"""Attacks that learn nothing, on hand-worked payloads, on drawn scenes and on real KITTI frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from server.audit import attacks
from server.audit.attack import ReconstructionAttack, Workbench
from server.audit.controls import identity_payload, random_features
from server.audit.scenes import AuditedVehicle, SceneTruth, Victims, make_paired, make_victims, view_of
from server.audit.scores import score_scene
from server.audit.threat import Ability, Threat
from shared_models import codecs, detectors, guards
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import BackboneMismatchError, InvalidValueError, PayloadError
from shared_models.records import GridFeatures, SceneFeatures, SetFeatures


def prepared(
    name: str, vehicle: AuditedVehicle, victims: Victims | None = None, paired=(), **settings
) -> ReconstructionAttack:
    attack = attacks.build(name, settings)
    assert isinstance(attack, ReconstructionAttack)
    threat = Threat(name="test", gives=(Ability.PAIRED,), origin="the same street") if attack.needs else Threat()
    attack.prepare(view_of(threat, vehicle, victims.payloads if victims else (), paired), Workbench())
    return attack


def payload_of(coords: list[list[int]], keypoints: list[list[float]] | None = None) -> bytes:
    grid = GridFeatures(
        coords=torch.tensor(coords, dtype=torch.int32).reshape(-1, 3),
        features=torch.ones((len(coords), 64)),
        shape=(2, 50, 44),
    )
    points = None
    if keypoints is not None:
        points = SetFeatures(positions=torch.tensor(keypoints).reshape(-1, 3), features=torch.ones((len(keypoints), 4)))
    return codecs.encode(
        SceneFeatures(grid=grid, keypoints=points, split_layer="conv_out", backbone_hash="ab" * 32), "float32"
    )


def test_cells_become_their_middles(vehicle: AuditedVehicle) -> None:
    # Setting tiny: voxels of 0.1 m, range from (0, -20, -3); cells of 0.8 x 0.8 x 1.6 m.
    payload = payload_of([[0, 0, 0], [0, 0, 1], [1, 0, 1]])
    found = prepared("active_cells", vehicle).reconstruct(payload)
    assert found.points == pytest.approx(
        np.array([[0.05, -19.95, -1.75], [0.85, -19.95, -1.75], [0.85, -19.95, -0.15]]), abs=1e-5
    )
    assert found.cells is not None
    assert found.cells.tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 1]]
    ground = prepared("active_cells", vehicle, heights="ground", ground_z_m=-1.6).reconstruct(payload)
    assert ground.points == pytest.approx(np.array([[0.05, -19.95, -1.6], [0.85, -19.95, -1.6]]), abs=1e-5)
    column = prepared("active_cells", vehicle, heights="column", column_step_m=1.0).reconstruct(payload)
    assert sorted(column.points[:, 2].tolist()) == [-3, -3, -2, -2, -1, -1, 0, 0]
    filled = prepared("active_cells", vehicle, points_per_side=2).reconstruct(payload_of([[0, 0, 0]]))
    assert sorted(filled.points[:, 0].tolist()) == pytest.approx([-0.15, -0.15, 0.25, 0.25], abs=1e-5)


def test_blocks_of_merged_cells_are_filled_as_a_whole(vehicle: AuditedVehicle) -> None:
    found = prepared("active_cells", vehicle, block_side=2, points_per_side=2).reconstruct(payload_of([[0, 2, 4]]))
    # Cells 4 and 5 in x, 2 and 3 in y: their middles are at 3.25 and 4.05, and at -18.35 and -17.55.
    assert sorted(found.points[:, 0].tolist()) == pytest.approx([3.25, 3.25, 4.05, 4.05], abs=1e-5)
    assert sorted(found.points[:, 1].tolist()) == pytest.approx([-18.35, -18.35, -17.55, -17.55], abs=1e-5)
    assert found.cells is not None
    assert sorted(found.cells.tolist()) == [[4, 2, 0], [4, 3, 0], [5, 2, 0], [5, 3, 0]]


def test_the_header_says_how_large_merged_blocks_are(vehicle: AuditedVehicle) -> None:
    coarse = guards.build("coarse,side=2+channels")
    features = codecs.decode(payload_of([[0, 2, 4], [0, 3, 5]]))
    payload = codecs.encode(coarse.apply(features, torch.Generator().manual_seed(0)), "float32")
    found = prepared("active_cells", vehicle).reconstruct(payload)
    told = prepared("active_cells", vehicle, block_side=2).reconstruct(payload)
    assert found.cells is not None
    assert told.cells is not None
    assert found.cells.tolist() == told.cells.tolist()
    assert found.points.tolist() == told.points.tolist()
    assert len(found.cells) == 4
    plain = prepared("active_cells", vehicle, block_side=1).reconstruct(payload)
    assert plain.cells is not None
    assert plain.cells.tolist() == [[4, 2, 0]]


@pytest.mark.parametrize("name", ["active_cells", "keypoint_list"])
def test_damaged_payloads_are_refused(name: str, vehicle: AuditedVehicle) -> None:
    damaged = bytearray(payload_of([[0, 2, 4]], [[1.0, 2.0, 0.5]]))
    damaged[-10] ^= 255
    with pytest.raises(PayloadError):
        prepared(name, vehicle).reconstruct(bytes(damaged))
    with pytest.raises(PayloadError):
        prepared(name, vehicle).reconstruct(bytes(damaged)[:40])


def test_cells_of_another_layer_are_refused(vehicle: AuditedVehicle) -> None:
    """They would be taken for cells of another size, in other places."""
    features = replace(codecs.decode(payload_of([[0, 2, 4]])), split_layer="conv3")
    with pytest.raises(BackboneMismatchError, match="conv3"):
        prepared("active_cells", vehicle).reconstruct(codecs.encode(features, "float32"))


def test_keypoints_come_back_as_they_are(vehicle: AuditedVehicle) -> None:
    positions = [[1.25, -3.5, 0.125], [7.0, 2.0, -1.0]]
    attack = prepared("keypoint_list", vehicle)
    assert attack.reconstruct(payload_of([], positions)).points.tolist() == positions
    assert len(attack.reconstruct(payload_of([[0, 1, 2]])).points) == 0


def test_the_mean_scene_is_where_the_attackers_scans_have_points(vehicle: AuditedVehicle) -> None:
    def scene(*points: list[float]) -> SceneTruth:
        return SceneTruth(
            scene_id="s",
            points=np.array([[*p, 0] for p in points], np.float32),
            boxes=np.zeros((0, 7), np.float32),
            class_names=(),
        )

    own = [scene([1.05, 0.1, 0.1], [5.1, 0.1, 0.1]), scene([1.15, 0.1, 0.1], [9.1, 0.1, 0.1])]
    paired = list(make_paired(vehicle, own, 0))
    found = prepared("mean_scene", vehicle, paired=paired).reconstruct(b"never looked at")
    assert len(found.points) == 2  # as many cubes as a scan has
    assert found.points[0] == pytest.approx([1.1, 0.1, 0.1])  # in both scans
    with pytest.raises(InvalidValueError, match="at least one scene"):
        prepared("mean_scene", vehicle, paired=[])


@pytest.mark.parametrize("name", ["active_cells", "mean_scene"])
def test_an_attack_is_prepared_before_it_reconstructs(name: str) -> None:
    attack = attacks.build(name)
    assert isinstance(attack, ReconstructionAttack)
    with pytest.raises(InvalidValueError, match="prepare"):
        attack.reconstruct(payload_of([]))


@pytest.mark.parametrize("name", ["active_cells", "keypoint_list"])
def test_a_scene_without_cells_is_valid(name: str, vehicle: AuditedVehicle) -> None:
    assert len(prepared(name, vehicle).reconstruct(payload_of([])).points) == 0


def test_the_identity_upload_lifts_the_keypoint_list_to_the_ceiling(
    vehicle: AuditedVehicle, truths: tuple[SceneTruth, ...], geometry: CutGeometry
) -> None:
    attack = prepared("keypoint_list", vehicle)
    for codec in codecs.CODECS:
        found = attack.reconstruct(identity_payload(truths[0].points, codec))
        numbers = score_scene(truths[0], found, geometry)
        assert (numbers["verbatim_share"], numbers["f_score_0.1m"], numbers["chamfer_m"]) == (1, 1, 0)


def test_random_features_say_as_little_about_a_scene_as_those_of_another_scene(
    vehicle: AuditedVehicle, victims: Victims
) -> None:
    attack = prepared("active_cells", vehicle, victims)

    def score(truth: SceneTruth, payload: bytes) -> float:
        return score_scene(truth, attack.reconstruct(payload), vehicle.geometry)["f_score_0.5m"]

    drawn = []
    for number, payload in enumerate(victims.payloads):
        features = codecs.decode(payload)
        emptied = random_features(features, torch.Generator().manual_seed(number))
        assert len(emptied.grid) == len(features.grid)
        drawn.append(codecs.encode(emptied, "float16"))
    true = [score(truth, payload) for truth, payload in zip(victims.truths, victims.payloads, strict=True)]
    own = [score(truth, payload) for truth, payload in zip(victims.truths, drawn, strict=True)]
    others = [score(truth, payload) for truth, payload in zip(victims.truths, drawn[1:] + drawn[:1], strict=True)]
    assert np.mean(true) > 1.5 * np.mean(own)
    assert np.mean(own) == pytest.approx(np.mean(others), rel=0.1)


def kitti_vehicle(name: str) -> AuditedVehicle:
    detector = detectors.build(name, "kitti")
    assert isinstance(detector, AnchorDetector)
    return AuditedVehicle(detector)


@pytest.mark.data
def test_active_cells_find_every_occupied_ground_cell_of_real_scans(real_truths: tuple[SceneTruth, ...]) -> None:
    vehicle = kitti_vehicle("second_iou")
    victims = make_victims(vehicle, real_truths, 0)
    attack = prepared("active_cells", vehicle, victims)
    for truth, payload in zip(victims.truths, victims.payloads, strict=True):
        numbers = score_scene(truth, attack.reconstruct(payload), vehicle.geometry)
        # All of them, but for points on the border of two cells, which round to the one in float32, to the other here.
        assert numbers["ground_cell_recall"] > 0.999
        assert 0.55 <= numbers["ground_cell_precision"] <= 0.74


@pytest.mark.data
def test_keypoints_are_a_tenth_of_real_scans_to_the_last_bit(real_truths: tuple[SceneTruth, ...]) -> None:
    vehicle = kitti_vehicle("pv_rcnn")
    victims = make_victims(vehicle, real_truths[:2], 0)
    attack = prepared("keypoint_list", vehicle, victims)
    for truth, payload in zip(victims.truths, victims.payloads, strict=True):
        found = attack.reconstruct(payload)
        numbers = score_scene(truth, found, vehicle.geometry)
        scan = {row.tobytes() for row in np.ascontiguousarray(truth.points[:, :3])}
        assert all(row.tobytes() in scan for row in found.points)
        assert 0.098 <= numbers["verbatim_share"] <= 0.121
        assert numbers["recall_0.5m"] == 1
