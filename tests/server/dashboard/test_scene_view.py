"""One stored scene from above."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from server.dashboard.detection import SceneDetector
from server.dashboard.scene_view import KEPT, SceneViewer, describe_cells
from server.repositories.access_log import Action, local_actor
from server.repositories.archive import SceneArchive, open_archive, open_run_log
from server.repositories.memory import MemorySceneCatalogue
from server.repositories.read_recorder import ReadRecorder
from server.stores.memory import MemoryPayloadStore
from shared_models.detector import Detector
from shared_models.records import EncodedScene, GridFeatures, SceneFeatures, SceneManifest
from tests.dashboard_data import Client, encode, make_features, store
from tests.loopback import BACKBONE


@pytest.fixture
def archive() -> SceneArchive:
    """An empty archive in memory."""
    return SceneArchive(catalogue=MemorySceneCatalogue(), store=MemoryPayloadStore())


def test_cells_worked_by_hand() -> None:
    """Column (x 3, y 1) has two active cells, of mean |.| 2 and 4; column (x 0, y 2) one, of 0.5."""
    coords = torch.tensor([[0, 1, 3], [0, 2, 0], [1, 1, 3]], dtype=torch.int32)
    features = torch.tensor([[1.0, -3.0], [0.5, 0.5], [-4.0, 4.0]])
    cells = describe_cells(GridFeatures(coords=coords, features=features, shape=(2, 3, 4)))
    assert cells == {
        "shape": [2, 3, 4],
        "channels": 2,
        "active": 3,
        "x": [3, 0],
        "y": [1, 2],
        "value": [3.0, 0.5],
    }


@pytest.mark.parametrize("channels", [0, 3])
def test_no_cells(channels: int) -> None:
    grid = GridFeatures(coords=torch.zeros(0, 3, dtype=torch.int32), features=torch.zeros(0, channels), shape=(2, 3, 4))
    assert describe_cells(grid)["x"] == []


def test_detections_are_those_of_the_detector(archive: SceneArchive, detector: Detector) -> None:
    features = make_features(detector.backbone_hash)
    scene_id = store(archive, encode(features, 0))
    view = SceneViewer(archive, [SceneDetector(detector, "weights")]).view(scene_id[:16])
    with torch.inference_mode():
        expected = detector.detect(features)
    found = view["detections"]
    assert found["reason"] is None
    assert len(expected) > 0
    assert found["boxes"] == [[pytest.approx(v, abs=6e-4) for v in box] for box in expected.boxes.tolist()]
    assert found["scores"] == [pytest.approx(v, abs=6e-4) for v in expected.scores.tolist()]
    assert [found["classes"][label]["name"] for label in found["labels"]] == [
        detector.class_names[label] for label in expected.labels.tolist()
    ]
    assert view["geometry"] == {"low_m": [0.0, -20.0], "cell_m": [pytest.approx(0.8), pytest.approx(0.8)]}


def test_why_there_are_no_detections(archive: SceneArchive, detector: Detector) -> None:
    scene_id = store(archive, encode(make_features(BACKBONE), 0))
    without = SceneViewer(archive).view(scene_id)
    assert "--checkpoint" in without["detections"]["reason"]
    other = SceneViewer(archive, [SceneDetector(detector, "weights")]).view(scene_id)
    assert BACKBONE[:12] in other["detections"]["reason"]
    assert detector.backbone_hash[:12] in other["detections"]["reason"]
    assert (other["geometry"], len(other["cells"]["x"])) == (None, 300)


def test_scene_that_the_detector_refuses_still_shows_its_cells(archive: SceneArchive, detector: Detector) -> None:
    grid = GridFeatures(coords=torch.zeros(1, 3, dtype=torch.int32), features=torch.ones(1, 2), shape=(1, 1, 1))
    features = SceneFeatures(grid=grid, split_layer="conv_out", backbone_hash=detector.backbone_hash)
    scene_id = store(archive, encode(features, 0))
    view = SceneViewer(archive, [SceneDetector(detector, "weights")]).view(scene_id)
    assert "refuses this scene" in view["detections"]["reason"]
    assert view["cells"]["value"] == [1.0]


def test_only_the_latest_views_are_kept(archive: SceneArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = SceneViewer(archive)
    ids = [store(archive, encode(make_features(BACKBONE, number), number)) for number in range(KEPT + 1)]
    for scene_id in ids:
        viewer.view(scene_id)
    read: list[str] = []
    original = archive.store.read
    monkeypatch.setattr(archive.store, "read", lambda sha256: read.append(sha256) or original(sha256))
    assert viewer.view(ids[-1])["scene"]["scene_id"] == ids[-1]
    assert read == []
    viewer.view(ids[0])
    assert len(read) == 1


def test_every_look_at_a_scene_is_logged(tmp_path: Path) -> None:
    archive = open_archive(tmp_path, is_new_allowed=True)
    scene_id = store(archive, encode(make_features(BACKBONE), 0))
    with ReadRecorder(tmp_path, role="dashboard") as recorder:
        viewer = SceneViewer(archive, recorder=recorder)
        for _ in range(2):  # the second from memory
            viewer.view(scene_id)
    entries = list(archive.catalogue.log.entries(actions={Action.READ}))
    assert [(entry.actor, entry.subject) for entry in entries] == [(local_actor("dashboard"), scene_id)] * 2
    archive.close()


def test_damaged_payloads_trouble_their_own_page_only(
    make_client: Callable[[Path], Client], tmp_path: Path, detector: Detector
) -> None:
    archive = open_archive(tmp_path, is_new_allowed=True)
    open_run_log(tmp_path, is_new_allowed=True).close()
    scenes = [encode(make_features(detector.backbone_hash, number), number) for number in range(3)]
    good, torn, gone = [store(archive, scene) for scene in scenes]
    archive.close()
    files = {path.name: path for path in (tmp_path / "payloads").rglob("*") if path.is_file()}
    torn_file = next(path for name, path in files.items() if scenes[1].manifest.payload_sha256 in name)
    torn_file.chmod(0o600)
    torn_file.write_bytes(torn_file.read_bytes()[:-9])
    next(path for name, path in files.items() if scenes[2].manifest.payload_sha256 in name).unlink()
    client = make_client(tmp_path)
    answers = {scene_id: client.get(f"/api/v1/scenes/{scene_id}") for scene_id in (torn, gone, good)}
    assert [answers[each].status_code for each in (torn, gone, good)] == [503, 404, 200]
    assert answers[torn].json()["error"] == "StorageError"
    assert scenes[1].manifest.payload_sha256[:12] in answers[torn].json()["message"]
    assert client.get("/api/v1/scenes").json()["total"] == 3


def test_payload_that_is_no_payload(make_client: Callable[[Path], Client], tmp_path: Path) -> None:
    archive = open_archive(tmp_path, is_new_allowed=True)
    open_run_log(tmp_path, is_new_allowed=True).close()
    scene = encode(make_features(BACKBONE), 0)
    noise = type(scene)(manifest=_manifest_of(scene, b"noise"), payload=b"noise")
    scene_id = store(archive, noise)
    archive.close()
    answer = make_client(tmp_path).get(f"/api/v1/scenes/{scene_id}")
    assert (answer.status_code, answer.json()["error"]) == (422, "PayloadError")


def _manifest_of(scene: EncodedScene, payload: bytes) -> SceneManifest:
    sha256 = hashlib.sha256(payload).hexdigest()
    return replace(scene.manifest, payload_sha256=sha256, payload_bytes=len(payload))
