from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from server.training.labelled_data import EVERYWHERE
from server.training.preparation import make_detector
from server.training.run_config import DetectorSource
from server.training.source_config import SourceConfig
from server.training.sources import fleet_id, labelled_frames, open_source, raised, refuse_shared_frames
from server.training.splits import make_split, save_split
from shared_models.datasets import open_dataset
from shared_models.datasets.kitti_calibration import camera_view
from shared_models.errors import ConfigError, DatasetError, InvalidValueError
from tests.small_runs import RANGE_M, write_frames


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "kitti", 10)


def source(root: Path, **fields):
    return open_source(SourceConfig(dataset="kitti", root=str(root), **fields))


def test_the_sides_of_a_manifest_are_disjoint_and_complete(root: Path, tmp_path: Path) -> None:
    everything = source(root).frame_ids
    manifest = tmp_path / "split.json"
    save_split(make_split(everything, 0.3, 1, "kitti"), manifest)
    sides = {part: source(root, manifest=str(manifest), part=part).frame_ids for part in ("labelled", "unlabelled")}
    assert len(sides["labelled"]) == 3
    assert set(sides["labelled"]).isdisjoint(sides["unlabelled"])
    assert sorted(sides["labelled"] + sides["unlabelled"]) == sorted(everything)
    assert source(root, manifest=str(manifest), part="all").frame_ids == everything
    with pytest.raises(InvalidValueError, match="say which side of it"):
        source(root, manifest=str(manifest))


def test_sources_that_share_frames_are_refused(root: Path) -> None:
    one, few = source(root), source(root, frames=3)
    with pytest.raises(ConfigError, match=r"data\.labelled and data\.evaluation share 3 frames of kitti.*say so"):
        refuse_shared_frames(one, few, ("labelled", "evaluation"), "or say so")
    other = open_source(SourceConfig(dataset="simulated,drives=1,frames_per_drive=2"))
    same = open_source(SourceConfig(dataset="simulated,frames_per_drive=2,drives=1"))
    another = open_source(SourceConfig(dataset="simulated,drives=1,frames_per_drive=2,seed=9"))
    refuse_shared_frames(one, other, ("labelled", "unlabelled"), "")
    refuse_shared_frames(other, another, ("labelled", "unlabelled"), "")  # the same names in another world
    with pytest.raises(ConfigError, match="share 2 frames"):
        refuse_shared_frames(other, same, ("labelled", "unlabelled"), "")


@pytest.mark.parametrize(
    "words",
    ["drives=1,frames_per_drive=2,domain=germany", "drives=1,frames_per_drive=2,seed=0", "drives=3,frames_per_drive=2"],
)
def test_the_same_generated_frames_in_other_words_are_the_same(words: str) -> None:
    """A default that is written out, or more drives of the same world: the first frames are the same ones."""
    one, other = (
        open_source(SourceConfig(dataset=f"simulated,{each}")) for each in ("drives=1,frames_per_drive=2", words)
    )
    frame_id = one.frame_ids[0]
    assert (one.dataset.frame(frame_id).points == other.dataset.frame(frame_id).points).all()
    with pytest.raises(ConfigError, match="share 2 frames"):
        refuse_shared_frames(one, other, ("attacker", "victims"), "")
    longer = open_source(SourceConfig(dataset="simulated,drives=1,frames_per_drive=3"))
    refuse_shared_frames(one, longer, ("attacker", "victims"), "")  # these are other frames of the same names


def test_a_manifest_of_other_frames_is_refused(root: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "split.json"
    save_split(make_split(["a", "b", "c"], 0.5, 1, "other"), manifest)
    with pytest.raises(DatasetError, match="was made of 3 other frames than the 10 given"):
        source(root, manifest=str(manifest), part="labelled")


@pytest.mark.parametrize(("count", "rows"), [(1, [0]), (2, [0, 5]), (3, [0, 3, 6]), (5, [0, 2, 4, 6, 8])])
def test_few_frames_are_spread_evenly(root: Path, count: int, rows: list[int]) -> None:
    everything = source(root).frame_ids
    assert source(root, frames=count).frame_ids == tuple(everything[row] for row in rows)


@pytest.mark.parametrize("count", [0, 10, 11])
def test_more_frames_than_there_are_take_all(root: Path, count: int) -> None:
    assert len(source(root, frames=count).frame_ids) == 10


def test_no_frame_left(root: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "split.json"
    save_split(make_split(source(root).frame_ids, 1.0, 1, "kitti"), manifest)
    with pytest.raises(ConfigError, match=r"data: kitti \(split all, part unlabelled\) has no frame"):
        source(root, manifest=str(manifest), part="unlabelled")


def test_simulated_frames_are_kept_on_disk(tmp_path: Path) -> None:
    config = SourceConfig(dataset="simulated,drives=1,frames_per_drive=1", split="all")
    found = open_source(config, tmp_path)
    frame = found.dataset.frame(found.frame_ids[0])
    (kept,) = tmp_path.rglob("*.npz")
    changed = kept.stat().st_mtime_ns
    again = open_source(config, tmp_path)
    np.testing.assert_array_equal(again.dataset.frame(again.frame_ids[0]).points, frame.points)
    assert kept.stat().st_mtime_ns == changed


def test_a_raised_frame_looks_the_same_to_camera_and_world(root: Path) -> None:
    frame = open_dataset("kitti", root).frame("training-000001")
    higher = raised(frame, 1.6)
    np.testing.assert_allclose(higher.points[:, 2], frame.points[:, 2] + 1.6, rtol=1e-6)
    np.testing.assert_allclose(higher.labels.boxes[:, 2], frame.labels.boxes[:, 2] + 1.6, rtol=1e-6)
    np.testing.assert_array_equal(higher.labels.boxes[:, [0, 1, 3, 4, 5, 6]], frame.labels.boxes[:, [0, 1, 3, 4, 5, 6]])

    def in_camera(scan) -> np.ndarray:
        points = np.concatenate((scan.points[:, :3], np.ones((len(scan.points), 1))), 1)
        return points @ scan.camera.camera_from_lidar.T

    np.testing.assert_allclose(in_camera(higher), in_camera(frame), atol=1e-5)
    np.testing.assert_array_equal(camera_view(higher.points, higher.camera), camera_view(frame.points, frame.camera))
    assert frame.points[:, 2].max() < 0.2  # the frame itself is left as it was


def test_a_raised_frame_lies_where_it_was_in_the_world() -> None:
    dataset = open_dataset("simulated,drives=1,frames_per_drive=1")
    frame = dataset.frame(dataset.frame_ids[0])
    higher = raised(frame, -0.7)
    for scan in (frame, higher):
        assert scan.world_from_lidar is not None
    points = [np.concatenate((s.points[:, :3], np.ones((len(s.points), 1))), 1) for s in (frame, higher)]
    there = [p @ s.world_from_lidar.T for p, s in zip(points, (frame, higher), strict=True)]
    np.testing.assert_allclose(there[1], there[0], atol=1e-4)


def test_a_source_may_be_raised_and_keeps_its_frames(root: Path) -> None:
    plain, higher = source(root), source(root, shift_z_m=1.5)
    assert higher.frame_ids == plain.frame_ids == higher.dataset.frame_ids
    one, other = (s.dataset.frame(s.frame_ids[2]).points for s in (plain, higher))
    np.testing.assert_allclose(other[:, 2] - one[:, 2], 1.5, rtol=1e-5)
    with pytest.raises(ConfigError, match="wraps an opened dataset"):
        type(higher.dataset).open(root)


def test_labelled_frames_have_the_detectors_classes_and_range(root: Path) -> None:
    detector = make_detector(DetectorSource(override={"voxels": {"point_range_m": RANGE_M}}), 0)
    frames = labelled_frames(source(root, min_points=0), detector)
    assert frames.config.range_m == EVERYWHERE  # cut to the detector's after augmentation
    assert frames.config.class_names == detector.class_names
    assert frames.scan(frames.frame_ids[0]).truth.labels.tolist() == [0, 1, 2]
    near = labelled_frames(source(root, min_points=0, renamed={"Cyclist": "Car"}, max_length_m=3.0), detector)
    assert near.scan(near.frame_ids[0]).truth.labels.tolist() == [1, 0]  # the car is 4 m long


def test_a_part_needs_a_manifest() -> None:
    with pytest.raises(InvalidValueError, match="SourceConfig.part: 'labelled' needs a manifest"):
        SourceConfig(part="labelled")


def test_frames_with_another_guard_come_from_another_fleet(root: Path) -> None:
    config = SourceConfig(dataset="kitti", root="somewhere")
    plain = fleet_id(config)
    assert plain == fleet_id(config, "none") == "kitti-fleet-2a16fa66e6"  # stored scenes of former versions are found
    names = {plain, fleet_id(config, "noise,epsilon=8.0"), fleet_id(config, "noise,epsilon=4.0")}
    assert len(names) == 3
    assert fleet_id(SourceConfig(dataset="kitti", root="elsewhere")) not in names
