"""Policy and published checkpoint, as vehicles fetch them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import grpc
import pytest

from protos import convert
from protos.v1 import delivery_pb2
from tests.loopback import LoopbackServer, make_policy

WEIGHTS = hashlib.shake_256(b"weights").digest(10_000)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "manifest.json").write_text("{}")
    (folder / "notes.txt").write_text("not published")
    for hidden in (".hidden.json", "scenes-seen.json", "other.safetensors"):
        (folder / hidden).write_text("not published")
    return folder


def fetch(server: LoopbackServer, **request: object) -> list[delivery_pb2.GetModelResponse]:
    return list(server.delivery().GetModel(delivery_pb2.GetModelRequest(**request), timeout=20))  # type: ignore[arg-type]


def test_policy(tmp_path: Path) -> None:
    with LoopbackServer(tmp_path / "data") as server:
        answer = server.delivery().GetPolicy(delivery_pb2.GetPolicyRequest(vehicle_id="car-1"))
    assert convert.policy_from_message(answer) == make_policy()
    assert answer.policy_id.hex() == make_policy().policy_id


def test_listing_and_file(tmp_path: Path, model: Path) -> None:
    with LoopbackServer(tmp_path / "data", model=model) as server:
        (only,) = fetch(server)
        assert [file.name for file in only.listing.files] == ["manifest.json", "model.safetensors"]
        weights = only.listing.files[1]
        assert (weights.size_bytes, weights.sha256) == (10_000, hashlib.sha256(WEIGHTS).digest())
        listing, *chunks = fetch(server, file_name="model.safetensors")
        assert listing == only
        assert b"".join(message.chunk.data for message in chunks) == WEIGHTS
        _, *rest = fetch(server, file_name="model.safetensors", offset=9_000)
        assert b"".join(message.chunk.data for message in rest) == WEIGHTS[9_000:]
        assert rest[0].chunk.offset == 9_000


def test_model_id_is_the_documented_one(tmp_path: Path, model: Path) -> None:
    with LoopbackServer(tmp_path / "data", model=model) as server:
        (answer,) = fetch(server)
    lines = ["upcycle.model.v1"]
    lines += [f"{name} {len(data)} {hashlib.sha256(data).hexdigest()}" for name, data in
              (("manifest.json", b"{}"), ("model.safetensors", WEIGHTS))]  # fmt: skip
    assert answer.listing.model_id == hashlib.sha256("\n".join(lines).encode()).digest()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"file_name": "notes.txt"}, grpc.StatusCode.NOT_FOUND),
        ({"file_name": "../data/catalogue.sqlite"}, grpc.StatusCode.NOT_FOUND),
        ({"file_name": "model.safetensors", "offset": 10_001}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_wrong_requests(tmp_path: Path, model: Path, request_: dict[str, object], status: grpc.StatusCode) -> None:
    with LoopbackServer(tmp_path / "data", model=model) as server, pytest.raises(grpc.RpcError) as caught:
        fetch(server, **request_)
    assert caught.value.code() == status


@pytest.mark.parametrize(
    ("folder", "status"), [(None, "NOT_FOUND"), ("empty", "NOT_FOUND"), ("missing", "UNAVAILABLE")]
)
def test_no_model(tmp_path: Path, folder: str | None, status: str) -> None:
    (tmp_path / "empty").mkdir()
    with (
        LoopbackServer(tmp_path / "data", model=tmp_path / folder if folder else None) as server,
        pytest.raises(grpc.RpcError) as caught,
    ):
        fetch(server)
    assert caught.value.code().name == status
