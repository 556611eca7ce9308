"""Scenes that wait under another guard than the server's."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch

from shared_models import codecs
from shared_models.errors import GuardRefusedError, PayloadError
from shared_models.records import EncodedScene, GridFeatures, SceneFeatures
from tests.loopback import BACKBONE, make_policy, make_scene
from vehicle_client.waiting_guard import check_waiting


def scene(guard: str) -> EncodedScene:
    grid = GridFeatures(coords=torch.zeros(1, 3, dtype=torch.int32), features=torch.ones(1, 4), shape=(1, 2, 2))
    features = SceneFeatures(grid=grid, split_layer="conv_out", backbone_hash=BACKBONE, guard=guard)
    payload = codecs.encode(features, "int8")
    sha256 = hashlib.sha256(payload).hexdigest()
    manifest = replace(make_scene().manifest, payload_sha256=sha256, payload_bytes=len(payload))
    return EncodedScene(manifest=manifest, payload=payload)


@pytest.mark.parametrize(("asked", "waiting"), [("", "noise"), ("none", ""), ("decoys,share=0.5", "decoys,share=0.5")])
def test_what_may_go(asked: str, waiting: str) -> None:
    check_waiting(scene(waiting), make_policy(guard=asked))


@pytest.mark.parametrize(("asked", "waiting"), [("none", "noise"), ("decoys,share=0.5", ""), ("decoys", "noise")])
def test_what_may_not(asked: str, waiting: str) -> None:
    with pytest.raises(GuardRefusedError, match="frame 000000"):
        check_waiting(scene(waiting), make_policy(guard=asked))


def test_a_header_that_cannot_be_read_is_looked_at_only_where_a_guard_is_asked_for() -> None:
    check_waiting(make_scene(), make_policy())
    with pytest.raises(PayloadError):
        check_waiting(make_scene(), make_policy(guard="none"))
