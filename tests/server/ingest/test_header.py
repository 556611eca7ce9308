"""A payload's header against its manifest, with real payloads."""

from __future__ import annotations

import hashlib

import pytest
import torch

from protos.policy import Limits
from server.ingest.header import HeaderCheck
from shared_models import codecs
from shared_models.errors import PayloadError, PayloadTooLargeError
from shared_models.records import GridFeatures, SceneFeatures, SceneManifest
from tests.loopback import BACKBONE, OTHER_BACKBONE


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


def test_header_that_agrees(payload: bytes) -> None:
    HeaderCheck(Limits())(manifest(payload), payload)


@pytest.mark.parametrize(
    "changed", [{"codec": "float32"}, {"split_layer": "conv_4"}, {"backbone_hash": OTHER_BACKBONE}]
)
def test_header_that_says_something_else(payload: bytes, changed: dict[str, str]) -> None:
    with pytest.raises(PayloadError, match=f"header says {next(iter(changed))}"):
        HeaderCheck(Limits())(manifest(payload, **changed), payload)


def test_noise(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        HeaderCheck(Limits())(manifest(payload), b"noise" * 100)


def test_decoded_size_is_limited(payload: bytes) -> None:
    with pytest.raises(PayloadTooLargeError):
        HeaderCheck(Limits(max_decoded_bytes=10))(manifest(payload), payload)
