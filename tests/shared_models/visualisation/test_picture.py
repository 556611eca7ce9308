from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_models.datasets.kitti import KittiDataset
from shared_models.datasets.pandaset import PandasetDataset
from shared_models.errors import InvalidValueError, MissingDependencyError
from shared_models.records import Detections, Frame
from shared_models.visualisation.marks import Marks, of_detections, of_labels
from shared_models.visualisation.picture import View, draw
from tests.sample_folders import write_pandaset

pytest.importorskip("matplotlib", reason="needs the extra plot")
ORIGIN = np.zeros(3, dtype=np.float32)


def pixels(png: bytes) -> np.ndarray:
    import io

    from PIL import Image

    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_a_frame_with_camera_image_labels_and_detections(make_kitti):
    frame = KittiDataset(make_kitti()).frame("training-000000")
    detections = Detections(
        boxes=torch.tensor([[12.0, 0, -0.8, 4, 2, 1.6, 0], [30.0, 0, -0.8, 4, 2, 1.6, 0]]),
        scores=torch.tensor([0.9, 0.1]),
        labels=torch.tensor([0, 0]),
        class_names=("Car",),
    )
    marks = (of_labels(frame.labels), of_detections(detections, 0.3))
    assert [len(m.class_names) for m in marks] == [1, 1]
    image = np.full((375, 1242, 3), 90, dtype=np.uint8)
    view = View(title="t", frame=frame, sensor_m=ORIGIN, marks=marks, image=image)
    found = pixels(draw([view]))
    assert (np.abs(found.astype(int) - [255, 157, 46]).sum(axis=2) < 30).any()  # the colour of cars
    assert (found == [90, 90, 90]).all(axis=2).mean() > 0.03  # the image
    assert draw([view]) == draw([view])


def test_two_frames_side_by_side_are_twice_as_wide(make_kitti, tmp_path):
    one = KittiDataset(make_kitti()).frame("training-000000")
    other = PandasetDataset(write_pandaset(tmp_path / "p")).frame("00")
    views = [View(title=f.frame_id, frame=f, sensor_m=ORIGIN, marks=(of_labels(f.labels),)) for f in (one, other)]
    assert pixels(draw(views)).shape[1] == 2 * pixels(draw(views[:1])).shape[1]


def test_an_empty_unlabelled_scan_is_drawn():
    empty = Frame(frame_id="e", points=np.empty((0, 4), dtype=np.float32))
    assert pixels(draw([View(title="e", frame=empty, sensor_m=ORIGIN, marks=(of_labels(None),))])).size


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(InvalidValueError, match="at least one"):
        draw([])
    with pytest.raises(InvalidValueError, match="expected 1 boxes"):
        Marks(boxes=np.empty((0, 7), dtype=np.float32), class_names=("Car",))


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    empty = Frame(frame_id="e", points=np.empty((0, 4), dtype=np.float32))
    with pytest.raises(MissingDependencyError, match=r"upcycle-fleet\[plot\]"):
        draw([View(title="e", frame=empty, sensor_m=ORIGIN)])
