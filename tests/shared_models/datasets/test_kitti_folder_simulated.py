"""A simulated export, read by our reader and by the formulas of KITTI's development kit written out anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared_models.datasets.kitti import KittiConfig, KittiDataset
from shared_models.datasets.kitti_folder import KittiFolder
from shared_models.records import Frame

pytest.importorskip("embreex", reason="needs the extra sim")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Path, list[Frame]]:
    from shared_models.datasets.simulated import SimulatedDataset
    from shared_models.simulation.simulator import SimulatedConfig

    frames = list(SimulatedDataset(SimulatedConfig(drives=2, frames_per_drive=2, fov="camera")))
    root = tmp_path_factory.mktemp("exported")
    folder = KittiFolder(root)
    for frame in frames:
        folder.add(frame)
    folder.finish()
    return root, frames


def test_our_reader_gives_back_what_was_simulated(exported):
    root, frames = exported
    found = list(KittiDataset(root, KittiConfig(points="full")))
    assert len(found) == len(frames)
    assert sum(len(frame.labels) for frame in frames) > 4
    for one, expected in zip(found, frames, strict=True):
        np.testing.assert_array_equal(one.points, expected.points[:, :4])
        labels, wanted = one.labels, expected.labels
        assert labels.class_names == wanted.class_names
        np.testing.assert_allclose(labels.boxes, wanted.boxes, atol=1e-2)
        np.testing.assert_allclose(labels.image_boxes, wanted.image_boxes, atol=0.006)
        np.testing.assert_array_equal(labels.occlusion, wanted.occlusion)
        np.testing.assert_allclose(labels.truncation, wanted.truncation, atol=0.006)


def test_a_program_that_knows_only_the_format_finds_points_in_boxes_and_boxes_in_the_image(exported):
    root, _ = exported
    for path in sorted((root / "training/label_2").glob("*.txt")):
        calibration = read_matrices(root / "training/calib" / path.name)
        scan = np.fromfile(root / "training/velodyne" / f"{path.stem}.bin", np.float32).reshape(-1, 4)
        rectified = calibration["R0_rect"] @ calibration["Tr_velo_to_cam"] @ homogeneous(scan[:, :3].T)
        for words in (line.split() for line in path.read_text().splitlines()):
            assert len(words) == 15
            if words[0] == "DontCare":
                continue
            truncation, height, width, length, x, y, z, turn = (float(words[k]) for k in (1, *range(8, 15)))
            cosine, sine = np.cos(turn), np.sin(turn)
            own = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]]) @ (rectified[:3] - [[x], [y], [z]])
            inside = (
                (np.abs(own[0]) <= length / 2) & (np.abs(own[2]) <= width / 2) & (own[1] <= 0) & (own[1] >= -height)
            )
            assert inside.sum() >= 3, path
            if truncation == 0:
                assert_projection_fits(words, calibration["P2"], (height, width, length), (x, y, z), turn)


def assert_projection_fits(words, projection, size, bottom, turn) -> None:
    """The corners' projection encloses the image box, which is drawn around the shape, and is not much larger."""
    height, width, length = size
    signs = np.array([(a, b, c) for a in (-0.5, 0.5) for b in (-1, 0) for c in (-0.5, 0.5)]).T
    corners = signs * np.array([[length], [height], [width]])
    rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    pixels = projection @ homogeneous(rotation @ corners + np.array(bottom)[:, None])
    u, v = pixels[:2] / pixels[2]
    left, top, right, bottom_v = (float(w) for w in words[4:8])
    assert u.min() - 3 <= left < right <= u.max() + 3
    assert v.min() - 3 <= top < bottom_v <= v.max() + 3
    assert (right - left) * (bottom_v - top) > 0.4 * (u.max() - u.min()) * (v.max() - v.min())


def read_matrices(path: Path) -> dict[str, np.ndarray]:
    """KITTI's matrices, square ones widened to 4 x 4 where products need it."""
    found = {}
    for key, _, numbers in (line.partition(":") for line in path.read_text().splitlines()):
        values = np.array([float(w) for w in numbers.split()])
        found[key] = values.reshape(3, -1)
    for key in ("R0_rect", "Tr_velo_to_cam"):
        wide = np.eye(4)
        wide[:3, : found[key].shape[1]] = found[key]
        found[key] = wide
    return found


def homogeneous(columns: np.ndarray) -> np.ndarray:
    return np.concatenate([columns, np.ones((1, columns.shape[1]))])
