"""Payloads are exactly what a vehicle would send, and truths stay apart from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from server.audit.scenes import (
    AuditedVehicle,
    SceneTruth,
    Victims,
    check_payloads,
    make_paired,
    make_victims,
    read_truths,
)
from shared_models import codecs, detectors
from shared_models.dataset import Dataset
from shared_models.datasets import open_dataset
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import BackboneMismatchError, DatasetError, InvalidValueError, PayloadError, UnknownNameError
from shared_models.records import Frame
from vehicle_client.extractor import Extractor


def test_payloads_are_those_of_the_vehicle_itself(make_kitti, tiny: AnchorDetector) -> None:
    dataset = open_dataset("kitti", make_kitti(training=1, testing=0))
    vehicle = AuditedVehicle(tiny, codec="int8")
    truth = next(read_truths(dataset, dataset.frame_ids, vehicle.geometry, view="camera"))
    sent = codecs.encode(Extractor(tiny).extract(dataset.frame(dataset.frame_ids[0])).features, "int8")
    assert vehicle.payload(truth.points, seed=0) == sent
    assert len(truth.points) > 100
    assert truth.class_names == ("Car",)


@pytest.mark.parametrize(("layer", "channels", "shape"), [("conv1", 16, (41, 400, 352)), ("conv3", 32, (11, 100, 88))])
def test_shallower_layers_can_be_cut_too(
    layer: str, channels: int, shape: tuple[int, int, int], tiny: AnchorDetector, truths: tuple[SceneTruth, ...]
) -> None:
    vehicle = AuditedVehicle(tiny, codec="float32", split_layer=layer)
    features = codecs.decode(vehicle.payload(truths[0].points, 0))
    assert (features.split_layer, features.grid.shape, features.grid.features.shape[1]) == (layer, shape, channels)


def test_guards_draw_other_numbers_for_victims_and_for_the_attackers_scenes(
    tiny: AnchorDetector, truths: tuple[SceneTruth, ...]
) -> None:
    vehicle = AuditedVehicle(tiny, guard="noise")
    victims = make_victims(vehicle, truths[:2], seed=1)
    assert victims.payloads == make_victims(vehicle, truths[:2], seed=1).payloads
    assert victims.payloads != make_victims(vehicle, truths[:2], seed=2).payloads
    own = next(make_paired(vehicle, truths[:1], seed=1))
    assert own.payload != victims.payloads[0]
    assert codecs.read_header(own.payload).guard == vehicle.guard.described()


def test_guards_with_detections_get_the_vehicles_own(tiny: AnchorDetector, truths: tuple[SceneTruth, ...]) -> None:
    cropped = AuditedVehicle(tiny, guard="crop_boxes,least_score=1.0").payload(truths[0].points, 0)
    assert len(codecs.decode(cropped).grid) == 0  # seeded weights are sure of nothing


def test_truths_end_at_the_range_and_may_be_empty(vehicle: AuditedVehicle) -> None:
    payload = vehicle.payload(np.zeros((0, 4), np.float32), 0)
    assert len(codecs.decode(payload).grid) == 0


def test_simulated_scenes_know_their_street_drive_and_place(vehicle: AuditedVehicle) -> None:
    dataset = open_dataset("simulated,drives=1,visits=2,frames_per_drive=1,seed=4")
    first, second = read_truths(dataset, dataset.frame_ids, vehicle.geometry)
    assert (first.street, second.street) == ("sim-germany-kitti-0000",) * 2
    assert (first.drive, second.drive) == ("sim-germany-kitti-0000", "sim-germany-kitti-0000.1")
    pose = dataset.frame(second.scene_id).world_from_lidar
    assert pose is not None
    assert second.position_m == pytest.approx(tuple(pose[:3, 3]))


class OneFrame(Dataset):
    """A dataset of one scan without camera and labels, ten metres of it out of range."""

    @classmethod
    def open(cls, root: Path, split: str = "all") -> OneFrame:
        return cls()

    @property
    def frame_ids(self) -> tuple[str, ...]:
        return ("one",)

    def frame(self, frame_id: str) -> Frame:
        points = np.array([[x, 0, 0, 0.5] for x in range(46)], np.float32)
        return Frame(frame_id=frame_id, points=points)


def test_the_truth_ends_at_the_range_and_needs_no_labels(vehicle: AuditedVehicle) -> None:
    truth = next(read_truths(OneFrame(), ["one"], vehicle.geometry, properties={"city": "x"}))
    assert truth.points[:, 0].max() == 35  # of 35.2 m
    assert (len(truth.boxes), truth.class_names, truth.properties) == (0, (), {"city": "x"})
    assert (truth.drive, truth.position_m) == ("one", None)
    with pytest.raises(DatasetError, match="no camera"):
        next(read_truths(OneFrame(), ["one"], vehicle.geometry, view="camera"))


def test_foreign_and_damaged_payloads_are_refused(
    vehicle: AuditedVehicle, victims: Victims, tiny: AnchorDetector
) -> None:
    check_payloads(victims.payloads, vehicle)
    other = detectors.build("second_iou", "tiny", seed=1)
    assert isinstance(other, AnchorDetector)
    with pytest.raises(BackboneMismatchError, match="payload 0: expected"):
        check_payloads(victims.payloads, AuditedVehicle(other))
    with pytest.raises(BackboneMismatchError, match="noise"):
        check_payloads(victims.payloads, AuditedVehicle(tiny, guard="noise"))
    damaged = bytearray(victims.payloads[0])
    damaged[-20] ^= 255
    with pytest.raises(PayloadError):
        check_payloads([bytes(damaged)], vehicle)


def test_wrong_names_are_refused_before_any_work(tiny: AnchorDetector) -> None:
    for wrong in ({"guard": "magic"}, {"codec": "zip"}, {"split_layer": "conv9"}):
        with pytest.raises(UnknownNameError):
            AuditedVehicle(tiny, **wrong)
    with pytest.raises(InvalidValueError, match="elongation"):
        AuditedVehicle(detectors.build("second_iou", "waymo"))  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="one truth for each payload"):
        Victims(payloads=(b"x",), truths=())


def test_the_detector_is_frozen(vehicle: AuditedVehicle) -> None:
    assert not vehicle.detector.training
    assert not any(parameter.requires_grad for parameter in vehicle.detector.parameters())
    assert torch.is_grad_enabled()
