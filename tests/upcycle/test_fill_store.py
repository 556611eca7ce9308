"""A store filled without a network holds what vehicles would have sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from server.repositories.archive import open_archive
from server.training.guarding import scene_generator
from server.training.preparation import make_detector, prepare
from server.training.processes import Processes
from server.training.source_config import SourceConfig
from server.training.sources import fleet_id, open_source
from shared_models import codecs, guards
from shared_models.detectors.guard_context import guard_context
from shared_models.errors import DatasetError
from tests.small_runs import small_run, write_frames
from tests.unlabelled_runs import CPU, PV_RCNN, unlabelled_run
from upcycle import fill_store as module
from upcycle.fill_store import fill_for, fill_store, give_known_labels, uses_stored_features


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_frames(tmp_path_factory.mktemp("frames") / "kitti", 3, empty=(1,))


def stored(data: Path) -> list:
    archive = open_archive(data)
    found = [(scene.manifest, codecs.decode(archive.encoded(scene).payload)) for scene in archive.catalogue.scenes()]
    archive.close()
    return found


@pytest.mark.parametrize("changes", [(), PV_RCNN], ids=["second_iou", "pv_rcnn"])
def test_the_features_are_those_of_a_vehicle(root: Path, tmp_path: Path, changes) -> None:
    run = unlabelled_run("upcycling", root, root, *changes)
    seen = []
    filled = fill_for(run, tmp_path, lambda done, total: seen.append((done, total)))
    assert (filled.scenes, filled.added, seen) == (3, 3, [(1, 3), (2, 3), (3, 3)])
    assert filled.vehicle_id == fleet_id(run.data.unlabelled)
    detector = make_detector(run.detector, run.seed).eval()
    dataset = open_source(run.data.unlabelled).dataset
    found = stored(tmp_path)
    assert filled.payload_bytes == sum(manifest.payload_bytes for manifest, _ in found)
    for manifest, features in found:
        points = dataset.frame(manifest.frame_id).columns(detector.point_fields)
        with torch.inference_mode():
            expected = detector.extract(torch.from_numpy(points))
        assert (manifest.vehicle_id, manifest.codec) == (filled.vehicle_id, "float16")
        assert manifest.backbone_hash == features.backbone_hash == detector.backbone_hash
        assert torch.equal(features.grid.coords, expected.grid.coords)
        np.testing.assert_allclose(features.grid.features, expected.grid.features, rtol=1e-3, atol=1e-4)
        assert (features.keypoints is None) == (not changes)


@pytest.mark.parametrize("guard", ["channels,share=0.5", "noise,epsilon=50.0", "crop_boxes,least_score=0.3"])
def test_features_go_through_the_run_s_guard(root: Path, tmp_path: Path, guard: str) -> None:
    labelled = write_frames(tmp_path / "labelled", 2)
    plain = unlabelled_run("upcycling", labelled, root)
    run = unlabelled_run("upcycling", labelled, root, f"settings.store.guard='{guard}'")
    name = guards.build(guard).described()
    filled = [fill_for(each, tmp_path) for each in (plain, run)]
    assert [each.added for each in filled] == [3, 3]
    assert filled[1].vehicle_id == fleet_id(run.data.unlabelled, name) != filled[0].vehicle_id
    fill_for(run, tmp_path / "other")
    again = {manifest.frame_id: manifest.payload_sha256 for manifest, _ in stored(tmp_path / "other")}
    detector = make_detector(run.detector, run.seed).eval()
    dataset = open_source(run.data.unlabelled).dataset
    guarded = [(manifest, features) for manifest, features in stored(tmp_path) if features.guard]
    assert [features.guard for _, features in guarded] == [name] * 3
    for manifest, features in guarded:
        assert again[manifest.frame_id] == manifest.payload_sha256  # the same random numbers
        points = torch.from_numpy(dataset.frame(manifest.frame_id).columns(detector.point_fields))
        with torch.inference_mode():
            seen = detector.extract(points)
            context = guard_context(detector, detector.detect(seen))
            generator = scene_generator(filled[1].vehicle_id, manifest.frame_id)
            expected = guards.build(guard).apply(seen, generator, context)
        assert torch.equal(features.grid.coords, expected.grid.coords)
        np.testing.assert_allclose(features.grid.features, expected.grid.features, rtol=1e-3, atol=2e-2)
    recipe = prepare(run, tmp_path, Processes(), CPU)
    assert {scene.manifest.vehicle_id for scene in recipe.scenes.scenes} == {filled[1].vehicle_id}


def test_only_what_is_missing_is_added(root: Path, tmp_path: Path, monkeypatch) -> None:
    config = SourceConfig(dataset="kitti", root=str(root))
    detector = make_detector(small_run(root).detector, 5)
    archived = module.SceneArchive.add
    calls = []

    def add(self, scene, stored_at_ns):
        calls.append(scene.manifest.frame_id)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return archived(self, scene, stored_at_ns)

    monkeypatch.setattr(module.SceneArchive, "add", add)
    with pytest.raises(KeyboardInterrupt):
        fill_store(detector, config, tmp_path, "int8")
    monkeypatch.undo()
    assert len(stored(tmp_path)) == 2
    assert fill_store(detector, config, tmp_path, "int8").added == 1
    assert fill_store(detector, config, tmp_path, "int8").added == 0
    assert fill_store(detector, config, tmp_path, "float16").added == 3  # another codec is another payload
    other = make_detector(small_run(root, "seed=6").detector, 6)
    assert fill_store(other, config, tmp_path, "int8").added == 3  # so is another backbone
    assert len(stored(tmp_path)) == 9


def test_only_the_view_of_the_labelled_frames_is_stored(root: Path, monkeypatch) -> None:
    frame = open_source(SourceConfig(dataset="kitti", root=str(root))).dataset.frame("training-000000")
    behind = np.array([[-5, 0, 0, 0.5]], dtype=np.float32)
    wide = replace(frame, points=np.concatenate((behind, frame.points)))
    assert module._seen(wide, "all") is wide
    np.testing.assert_array_equal(module._seen(wide, "camera").points, frame.points)
    with pytest.raises(DatasetError, match="has no camera; read it with view = 'all'"):
        module._seen(replace(wide, camera=None), "camera")


def test_which_runs_bring_their_own_features(root: Path) -> None:
    assert uses_stored_features(unlabelled_run("upcycling", root, root))
    assert not uses_stored_features(unlabelled_run("upcycling", root, root, "settings.store.vehicle_id=car-1"))
    assert not uses_stored_features(unlabelled_run("iou_match", root, root))
    assert not uses_stored_features(small_run(root, "recipe=upcycling"))


def test_known_labels_are_those_of_the_unlabelled_frames(root: Path, tmp_path: Path) -> None:
    labelled = write_frames(tmp_path / "labelled", 2)
    without = unlabelled_run("upcycling", labelled, root)
    fill_for(without, tmp_path)
    recipe = prepare(without, tmp_path, Processes(), CPU)
    give_known_labels(recipe)
    assert recipe.known_labels == {}  # nobody asked for it
    run = unlabelled_run("upcycling", labelled, root, "settings.compare_with_labels=true")
    fill_for(run, tmp_path)
    recipe = prepare(run, tmp_path, Processes(), CPU)
    assert recipe.known_labels == {}
    give_known_labels(recipe)
    assert {name: len(truth) for name, truth in recipe.known_labels.items()} == {
        "training-000000": 3,
        "training-000001": 0,  # a scan without points shows no object
        "training-000002": 3,
    }
    assert set(recipe.known_labels) == {scene.manifest.frame_id for scene in recipe._store.scenes}
    give_known_labels(prepare(small_run(root), tmp_path, Processes(), CPU))  # nothing to give
