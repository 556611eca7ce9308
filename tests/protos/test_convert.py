"""Messages and records: there and back unchanged, and malformed messages refused with one error only."""

from __future__ import annotations

import contextlib
from dataclasses import fields
from typing import Any

import pytest
import torch
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from protos import convert
from protos.policy import Limits, Policy, ServerTerms, VehicleIdentity
from protos.report import VehicleReport
from protos.v1 import common_pb2, ingest_pb2
from shared_models.errors import IntegrityError, ProtocolError
from shared_models.records import Detections, SceneManifest
from tests.loopback import make_identity, make_policy, make_scene

HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
NAMES = st.text(st.characters(exclude_characters="/\\", exclude_categories=("C", "Z")), min_size=1, max_size=50).filter(
    str.isprintable
)

MANIFESTS = st.builds(
    SceneManifest,
    vehicle_id=NAMES,
    frame_id=NAMES,
    timestamp_ns=st.integers(0, 2**63 - 1),
    codec=NAMES,
    split_layer=NAMES,
    backbone_hash=HASHES,
    payload_sha256=HASHES,
    payload_bytes=st.integers(0, 2**63),
    region=st.just("") | NAMES,
)

REPORTS = st.builds(VehicleReport, **{each.name: st.integers(0, 2**63 - 1) for each in fields(VehicleReport)})


@given(MANIFESTS)
def test_manifest_there_and_back(manifest: SceneManifest) -> None:
    wire = convert.begin_to_message(manifest).SerializeToString()
    assert convert.begin_from_message(ingest_pb2.BeginScene.FromString(wire)) == manifest


@given(REPORTS)
def test_report_there_and_back(report: VehicleReport) -> None:
    wire = convert.report_to_message(report).SerializeToString()
    assert convert.report_from_message(ingest_pb2.VehicleReport.FromString(wire)) == report


def test_report_beyond_63_bits_is_refused() -> None:
    with pytest.raises(ProtocolError, match="evicted_bytes"):
        convert.report_from_message(ingest_pb2.VehicleReport(evicted_bytes=2**63))


@given(st.binary(max_size=300))
def test_any_bytes_as_begin_or_hello(data: bytes) -> None:
    for message, read in (
        (ingest_pb2.BeginScene, convert.begin_from_message),
        (ingest_pb2.Hello, convert.hello_from_message),
        (ingest_pb2.Welcome, convert.welcome_from_message),
        (ingest_pb2.VehicleReport, convert.report_from_message),
        (common_pb2.Detections, convert.detections_from_message),
    ):
        try:
            parsed: Any = message.FromString(data)
        except DecodeError:
            continue
        with contextlib.suppress(ProtocolError):  # anything else fails the test
            read(parsed)


@pytest.mark.parametrize(
    "changed",
    [
        {"vehicle_id": ""},
        {"frame_id": "a/b"},
        {"codec": "x\ny"},
        {"timestamp_ns": -1},
        {"backbone_hash": b""},
        {"payload_sha256": bytes(33)},
    ],
)
def test_malformed_manifest(changed: dict[str, Any]) -> None:
    message = convert.manifest_to_message(make_scene().manifest)
    for name, value in changed.items():
        setattr(message, name, value)
    with pytest.raises(ProtocolError, match=next(iter(changed))):
        convert.manifest_from_message(message)


@given(st.integers(0, 5000), st.integers(1, 2000), st.integers(0, 5000))
def test_chunks_put_together_are_the_payload(size: int, chunk_bytes: int, offset: int) -> None:
    scene = make_scene(size=size)
    if offset > size:
        with pytest.raises(ProtocolError, match="offset"):
            list(convert.chunks_of(scene, chunk_bytes, offset))
        return
    data = b""
    for chunk in convert.chunks_of(scene, chunk_bytes, offset):
        assert chunk.offset == offset + len(data)
        data += convert.chunk_data(chunk, chunk_bytes)
    assert data == scene.payload[offset:]
    message = convert.manifest_to_message(scene.manifest)
    assert convert.scene_from_parts(message, scene.payload[:offset] + data) == scene


def test_crc_is_the_documented_one() -> None:
    chunk = ingest_pb2.Chunk(data=b"123456789", crc32=0xCBF43926)  # the check value of CRC-32/ISO-HDLC
    assert convert.chunk_data(chunk, 9) == b"123456789"
    with pytest.raises(IntegrityError, match="cbf43926"):
        convert.chunk_data(ingest_pb2.Chunk(data=b"123456789", crc32=1), 9)
    with pytest.raises(ProtocolError, match="1 to 8"):
        convert.chunk_data(chunk, 8)


def test_scene_id_is_the_documented_one() -> None:
    # Worked out by hand with: printf 'upcycle.scene.v1\ncar\nframe\n5\n00..00' | sha256sum
    manifest = SceneManifest(
        vehicle_id="car",
        frame_id="frame",
        timestamp_ns=5,
        codec="int8",
        split_layer="conv_out",
        backbone_hash="0" * 64,
        payload_sha256="0" * 64,
        payload_bytes=1,
    )
    assert manifest.scene_id == "8d910bd5652b544fb6482b8b8cf022086476112882d516741e2da99b069d465c"


@pytest.mark.parametrize("count", [0, 3])
def test_detections_there_and_back(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    detections = Detections(
        boxes=torch.randn(count, 7, generator=generator),
        scores=torch.rand(count, generator=generator),
        labels=torch.arange(count) % 2,
        class_names=("Car", "Pedestrian"),
    )
    wire = convert.detections_to_message(detections).SerializeToString()
    back = convert.detections_from_message(common_pb2.Detections.FromString(wire))
    assert torch.equal(back.boxes, detections.boxes)
    assert torch.equal(back.scores, detections.scores)
    assert torch.equal(back.labels, detections.labels)
    assert back.class_names == detections.class_names


@pytest.mark.parametrize(
    "wrong",
    [
        {"scores": [0.5]},
        {"scores": [0.5], "boxes": [0.0] * 7},
        {"scores": [0.5], "boxes": [0.0] * 7, "labels": [1], "class_names": ["Car"]},
    ],
)
def test_detections_that_do_not_fit(wrong: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        convert.detections_from_message(common_pb2.Detections(**wrong))


@pytest.mark.parametrize(
    "policy",
    [
        make_policy(),
        make_policy(backbone_hashes=None),
        make_policy(guard="none"),
        make_policy(guard="decoys,share=0.5+noise,epsilon=8.0"),
        make_policy(split_layers=frozenset({"conv_out", "conv_4"}), limits=Limits()),
    ],
)
def test_policy_and_terms_there_and_back(policy: Policy) -> None:
    terms = ServerTerms(protocol_version=1, policy=policy, credit_bytes=7, server_version="x")
    wire = convert.welcome_to_message(terms).SerializeToString()
    assert convert.welcome_from_message(ingest_pb2.Welcome.FromString(wire)) == terms


def test_hello_there_and_back() -> None:
    identity = make_identity(protocol_versions=(1, 2), client_version="test")
    assert convert.hello_from_message(convert.hello_to_message(identity)) == identity


@pytest.mark.parametrize("name", ["Olaf's car/7", "Olaf" * 100])
def test_a_malformed_name_of_a_vehicle_is_not_repeated(name: str) -> None:
    """Messages of errors reach the server's log."""
    hello, manifest = convert.hello_to_message(make_identity()), convert.manifest_to_message(make_scene().manifest)
    hello.vehicle_id = manifest.vehicle_id = name
    for read in (lambda: convert.hello_from_message(hello), lambda: convert.manifest_from_message(manifest)):
        with pytest.raises(ProtocolError, match="vehicle_id: expected") as caught:
            read()
        assert "Olaf" not in str(caught.value)


def test_endless_lists_in_hello() -> None:
    hello = convert.hello_to_message(make_identity())
    hello.codecs.extend(["x"] * 100)
    with pytest.raises(ProtocolError, match="at most 64"):
        convert.hello_from_message(hello)


def test_identity_is_a_record() -> None:
    assert make_identity() == VehicleIdentity(vehicle_id="car-1", backbone_hash="ab" * 32, codecs=("int8",))
