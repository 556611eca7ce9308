"""What a server logs of uploads and of calls that hand something out, and who it says it was."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from server.records.verification import verify
from server.repositories.access_log import Entry
from server.repositories.pseudonym import Pseudonyms
from shared_models.errors import StorageError
from tests.fleet_pki import Fleet
from tests.loopback import LoopbackServer, make_identity, make_scene
from tests.server.ingest.stream_driver import Stream
from tests.server.ingest.test_interceptor import Client

PSEUDONYMS = Pseudonyms(b"k" * 32)
MODEL = b"weights"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(MODEL)
    return tmp_path / "model"


def entries(server: LoopbackServer) -> list[Entry]:
    return list(server.archive.catalogue.log.entries())


def test_over_tls(tmp_path: Path, model: Path) -> None:
    fleet, scene = Fleet(tmp_path / "pki"), make_scene()
    with LoopbackServer(tmp_path / "data", tls=fleet.tls(), model=model, pseudonyms=PSEUDONYMS) as server:
        with Client(server, fleet.files("vehicle/car-1")) as vehicle:
            Stream(vehicle, make_identity()).upload(scene)  # type: ignore[arg-type]
            Stream(vehicle, make_identity()).upload(scene)  # type: ignore[arg-type]
            vehicle.scene_status("car-1", scene.manifest.scene_id)
            vehicle.model("car-1")
        for role in ("operator/olaf", "auditor/ann"):
            with Client(server, fleet.files(role)) as overseer:
                overseer.scene_status("car-1", scene.manifest.scene_id)
        found = entries(server)
        tag = PSEUDONYMS.tag("car-1", found[0].at_ns)
        assert [(entry.actor, entry.action) for entry in found] == [
            (f"vehicle/{tag}", "upload"),
            (f"vehicle/{tag}", "model-fetch"),
            ("operator/olaf", "list"),
            ("auditor/ann", "list"),
        ]
        assert found[0].subject == scene.manifest.scene_id
        assert found[0].details == {
            "vehicle": tag,
            "payload_sha256": scene.manifest.payload_sha256,
            "bytes": len(scene.payload),
        }
        assert found[1].details["file"] == "model.safetensors"
        assert found[2].details == {"vehicle": tag, "scenes": 1}
        assert not any("car-1" in entry.detail + entry.subject for entry in found)
        assert verify(server.archive).is_sound


def test_without_tls_nobody_is_known(tmp_path: Path, model: Path) -> None:
    with LoopbackServer(tmp_path / "data", model=model) as server:
        with Client(server, None) as client:
            client.scene_status("car-1", "ab" * 32)
            client.model()
        assert [(entry.actor, entry.action) for entry in entries(server)] == [("unknown", "model-fetch")]


def test_what_cannot_be_logged_is_not_handed_out(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackServer(tmp_path / "data", model=model) as server:

        def fail(_events: object) -> None:
            raise StorageError("the disk is gone")

        monkeypatch.setattr(server.archive.catalogue.log, "append", fail)
        with Client(server, None) as client, pytest.raises(grpc.RpcError) as caught:
            client.model()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]
