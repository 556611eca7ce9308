"""A vehicle that does not look at the policy's guard, as those from before it: its scenes are refused for good."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from server.ingest.header import HeaderCheck
from shared_models import codecs
from shared_models.errors import GuardRefusedError
from shared_models.records import EncodedScene, GridFeatures, SceneFeatures
from tests.loopback import BACKBONE, LoopbackServer, make_identity, make_policy, make_scene
from vehicle_client.outbox import Outbox
from vehicle_client.uploader import Uploader, UploaderConfig

POLICY = make_policy(guard="decoys,share=0.5")


def scene(number: int, guard: str) -> EncodedScene:
    grid = GridFeatures(
        coords=torch.tensor([[0, 1, number]], dtype=torch.int32), features=torch.ones(1, 4), shape=(1, 2, 9)
    )
    features = SceneFeatures(grid=grid, split_layer="conv_out", backbone_hash=BACKBONE, guard=guard)
    payload = codecs.encode(features, "int8")
    sha256 = hashlib.sha256(payload).hexdigest()
    manifest = replace(make_scene(number).manifest, payload_sha256=sha256, payload_bytes=len(payload))
    return EncodedScene(manifest=manifest, payload=payload)


def test_scenes_of_another_guard_are_refused_and_those_of_the_policys_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vehicle_client.upload_stream.check_waiting", lambda scene, policy: None)
    sent = [scene(number, guard) for number, guard in enumerate(["", "decoys,share=0.5", "decoys,share=0.6", "noise"])]
    with LoopbackServer(tmp_path / "data", POLICY, check_payload=HeaderCheck(POLICY)) as server:
        with Outbox(tmp_path / "spool") as outbox:
            for each in sent:
                outbox.put(each)
            uploader = Uploader(f"127.0.0.1:{server.port}", make_identity(), UploaderConfig(give_up_after_s=10.0))
            report = uploader.run(outbox)
            assert (outbox.counts().pending, outbox.counts().dead) == (0, 3)
        (stored,) = server.archive.catalogue.scenes()
        assert (stored.scene_id, stored.guard) == (sent[1].manifest.scene_id, "decoys,share=0.5")
        refused = [each for each in sent if each is not sent[1]]
        assert not any(server.archive.store.has(each.manifest.payload_sha256) for each in refused)
    assert {each.frame_id: type(each.error) for each in report.refusals} == {
        each.manifest.frame_id: GuardRefusedError for each in refused
    }
