"""A payload's header against its manifest, with real payloads."""

from __future__ import annotations

import hashlib

import pytest
import torch

from protos.policy import Limits
from server.ingest.header import HeaderCheck
from shared_models import codecs
from shared_models.errors import GuardRefusedError, PayloadError, PayloadTooLargeError
from shared_models.records import GridFeatures, SceneFeatures, SceneManifest
from tests.loopback import BACKBONE, OTHER_BACKBONE, make_policy


@pytest.fixture(scope="module")
def payload() -> bytes:
    grid = GridFeatures(
        coords=torch.tensor([[0, 1, 2], [1, 0, 0]], dtype=torch.int32), features=torch.ones(2, 8), shape=(2, 5, 5)
    )
    return codecs.encode(SceneFeatures(grid=grid, split_layer="conv_out", backbone_hash=BACKBONE), "int8")


def manifest(payload: bytes, **changed: str) -> SceneManifest:
    given = {"codec": "int8", "split_layer": "conv_out", "backbone_hash": BACKBONE} | changed
    return SceneManifest(
        vehicle_id="car-1",
        frame_id="000001",
        timestamp_ns=0,
        payload_sha256=hashlib.sha256(payload).hexdigest(),
        payload_bytes=len(payload),
        **given,
    )


def guarded(guard: str) -> bytes:
    grid = GridFeatures(coords=torch.zeros(1, 3, dtype=torch.int32), features=torch.ones(1, 8), shape=(2, 5, 5))
    features = SceneFeatures(grid=grid, split_layer="conv_out", backbone_hash=BACKBONE, guard=guard)
    return codecs.encode(features, "int8")


def test_header_that_agrees(payload: bytes) -> None:
    assert HeaderCheck(make_policy())(manifest(payload), payload) == "none"


def test_the_guard_of_the_header_is_given_back() -> None:
    payload = guarded("decoys,share=0.5")
    for policy in (make_policy(), make_policy(guard="decoys,share=0.5")):
        assert HeaderCheck(policy)(manifest(payload), payload) == "decoys,share=0.5"


@pytest.mark.parametrize(
    ("asked", "sent"),
    [("decoys,share=0.5", ""), ("none", "decoys,share=0.5"), ("decoys,share=0.5", "decoys,share=0.6")],
)
def test_another_guard_than_the_policys(asked: str, sent: str) -> None:
    payload = guarded(sent)
    with pytest.raises(GuardRefusedError, match=f"under guard '{sent or 'none'}', the server takes '{asked}' only"):
        HeaderCheck(make_policy(guard=asked))(manifest(payload), payload)


@pytest.mark.parametrize(
    "changed", [{"codec": "float32"}, {"split_layer": "conv_4"}, {"backbone_hash": OTHER_BACKBONE}]
)
def test_header_that_says_something_else(payload: bytes, changed: dict[str, str]) -> None:
    with pytest.raises(PayloadError, match=f"header says {next(iter(changed))}"):
        HeaderCheck(make_policy())(manifest(payload, **changed), payload)


def test_noise(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        HeaderCheck(make_policy())(manifest(payload), b"noise" * 100)


def test_decoded_size_is_limited(payload: bytes) -> None:
    with pytest.raises(PayloadTooLargeError):
        HeaderCheck(make_policy(limits=Limits(max_decoded_bytes=10)))(manifest(payload), payload)
