from __future__ import annotations

import numpy as np
import pytest

from server.training.labelled_data import LabelledDataConfig, LabelledFrames, labelled_scan, read_labelled
from shared_models.dataset import Dataset
from shared_models.datasets.kitti import KittiDataset
from shared_models.datasets.plain_labels import plain_labels
from shared_models.errors import DatasetError, InvalidValueError, NotFoundError
from shared_models.records import CameraCalibration, Frame

CAMERA = CameraCalibration(
    image_from_camera=np.array([[700.0, 0, 620, 0], [0, 700, 187, 0], [0, 0, 1, 0]]),
    camera_from_lidar=np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]),
    image_size=(375, 1242),
)
OBJECTS = {  # word: box
    "Car": [10, 0, 0, 4, 2, 1.5, 0],
    "Van": [20, 0, 0, 5, 2, 2, 0],
    "Cyclist": [-10, 0, 0, 2, 1, 2, 0],
    "Tram": [30, 5, 0, 12, 3, 3, 0],
    "Pedestrian": [60, 0, 0, 1, 1, 2, 0],
}
BOXES = np.array(list(OBJECTS.values()), dtype=np.float32)


def make_frame(points_each: int = 3, **changes) -> Frame:
    points = np.repeat(np.concatenate((BOXES[:, :3], np.ones((5, 2))), axis=1), points_each, axis=0)
    known = {
        "frame_id": "a",
        "points": points.astype(np.float32),
        "point_fields": ("x", "y", "z", "intensity", "elongation"),
        "labels": plain_labels(BOXES, tuple(OBJECTS)),
        "camera": CAMERA,
    }
    return Frame(**(known | changes))


def places(**settings) -> list[tuple[int, float]]:
    """(label, x) of what is kept."""
    truth = labelled_scan(make_frame(), LabelledDataConfig(**settings)).truth
    return [(int(label), float(x)) for label, x in zip(truth.labels, truth.boxes[:, 0], strict=True)]


def test_words_become_the_detectors_classes():
    assert places() == [(0, 10), (2, -10), (1, 60)]
    assert places(class_names=("Vehicle", "Person"), renamed={"Car": "Vehicle", "Van": "Vehicle"}) == [(0, 10), (0, 20)]


def test_range_camera_length_and_points():
    assert places(range_m=(0, -40, -3, 50, 40, 1)) == [(0, 10)]
    assert places(view="camera") == [(0, 10), (1, 60)]
    assert places(class_names=("Car", "Tram"), max_length_m=10) == [(0, 10)]
    assert places(min_points=4) == []
    assert places(min_points=3) == [(0, 10), (2, -10), (1, 60)]
    bare = labelled_scan(make_frame(points_each=0), LabelledDataConfig(min_points=0))
    assert len(bare.truth) == 3
    assert bare.points.shape == (0, 4)


def test_points_of_the_camera_only_and_the_wanted_columns():
    scan = labelled_scan(make_frame(), LabelledDataConfig(view="camera", point_fields=("x", "y", "z", "elongation")))
    assert scan.points.shape == (12, 4)  # not the three behind
    assert (scan.points[:, 0] > 0).all()


@pytest.mark.parametrize(
    ("frame", "config", "error", "message"),
    [
        (make_frame(labels=None), {}, DatasetError, "frame a has no labels"),
        (make_frame(camera=None), {"view": "camera"}, DatasetError, "frame a has no camera"),
        (make_frame(), {"point_fields": ("x", "y", "z", "ring")}, InvalidValueError, "missing .*ring"),
    ],
)
def test_what_cannot_be_read_is_said(frame, config, error, message):
    with pytest.raises(error, match=message):
        labelled_scan(frame, LabelledDataConfig(**config))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"renamed": {"Car": "Vehicle"}}, "none of the detector's classes"),
        ({"class_names": ()}, "class_names"),
        ({"class_names": ("Car", "Car")}, "different names"),
        ({"point_fields": ("y", "x", "z")}, "x, y, z first"),
        ({"view": "left"}, "all or camera"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(InvalidValueError, match=message):
        LabelledDataConfig(**wrong)


class Counting(Dataset):
    """A dataset that counts how often each frame is read."""

    def __init__(self):
        self.reads: list[str] = []

    @classmethod
    def open(cls, root, split="all"):
        raise NotImplementedError

    @property
    def frame_ids(self):
        return ("a", "b", "c", "d")

    def frame(self, frame_id):
        self.reads.append(frame_id)
        return make_frame(frame_id=frame_id)


def test_only_the_chosen_frames_are_ever_read():
    dataset = Counting()
    frames = LabelledFrames(dataset, ("c", "a"), LabelledDataConfig())
    assert [scan.frame_id for scan in frames] == ["c", "a"]
    with pytest.raises(NotFoundError, match="'b' is none of the 2 labelled frames"):
        frames.scan("b")
    assert dataset.reads == ["c", "a"]
    with pytest.raises(NotFoundError, match="1 of 2 frames are not in the dataset, such as z"):
        LabelledFrames(dataset, ("a", "z"), LabelledDataConfig())


def test_the_last_scans_stay_in_memory():
    dataset = Counting()
    frames = LabelledFrames(dataset, ("a", "b", "c"), LabelledDataConfig(), kept_in_memory=2)
    for frame_id in "abacaba":  # b falls out when c comes, c when b comes again
        frames.scan(frame_id)
    assert dataset.reads == list("abcb")
    assert frames.scan("a") is frames.scan("a")


def test_a_kitti_folder(make_kitti):
    scan = read_labelled(KittiDataset(make_kitti()), "training-000000", LabelledDataConfig(view="camera"))
    assert scan.truth.labels.tolist() == [0]
    assert scan.truth.is_exact.all()
    assert len(scan.points) > 1000


@pytest.mark.data
def test_real_frames(kitti_root):
    dataset = KittiDataset.open(kitti_root, "train")
    for scan in LabelledFrames(dataset, dataset.frame_ids, LabelledDataConfig(min_points=0)):
        labels = dataset.frame(scan.frame_id).labels
        assert labels is not None
        expected = [name for name in labels.class_names if name in ("Car", "Pedestrian", "Cyclist")]
        assert [("Car", "Pedestrian", "Cyclist")[k] for k in scan.truth.labels] == expected
