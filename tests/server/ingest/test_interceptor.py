"""Calls over TLS against a real server: who is let in, and with which status everybody else is turned away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos import convert
from protos.status import REASON_KEY
from protos.v1 import delivery_pb2, delivery_pb2_grpc, ingest_pb2, ingest_pb2_grpc
from server.ingest.tls import TlsConfig, TlsFolder
from server.pki import files
from tests.fleet_pki import DAY, Fleet, copy_of, now
from tests.loopback import LoopbackServer, make_identity, make_scene
from tests.server.ingest.stream_driver import Stream, refusal
from vehicle_client.channel import open_channel
from vehicle_client.outbox import Outbox
from vehicle_client.tls import TlsFiles
from vehicle_client.uploader import Uploader

PUBLISHED = b"weights"


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "pki")


@pytest.fixture
def server(tmp_path: Path, fleet: Fleet) -> Iterator[LoopbackServer]:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(PUBLISHED)
    with LoopbackServer(tmp_path / "data", tls=fleet.tls(), model=tmp_path / "model") as running:
        yield running


class Client:
    """Stubs over one connection of one holder of a certificate; `ingest` is what `Stream` asks for."""

    def __init__(self, server: LoopbackServer, tls: TlsFiles | None) -> None:
        self.channel = open_channel(server.target, tls)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.channel.close()

    def ingest(self) -> ingest_pb2_grpc.IngestStub:
        return ingest_pb2_grpc.IngestStub(self.channel)

    def delivery(self) -> delivery_pb2_grpc.DeliveryStub:
        return delivery_pb2_grpc.DeliveryStub(self.channel)

    def handshake(self, vehicle: str = "car-1") -> Any:
        return self.ingest().Handshake(convert.hello_to_message(make_identity(vehicle)), timeout=10)

    def scene_status(self, vehicle: str = "car-1", *ids: str) -> Any:
        wanted = [bytes.fromhex(scene_id) for scene_id in ids]
        request = ingest_pb2.SceneStatusRequest(vehicle_id=vehicle, scene_ids=wanted)
        return self.ingest().SceneStatus(request, timeout=10)

    def policy(self, vehicle: str = "") -> Any:
        return self.delivery().GetPolicy(delivery_pb2.GetPolicyRequest(vehicle_id=vehicle), timeout=10)

    def model(self, vehicle: str = "") -> Any:
        request = delivery_pb2.GetModelRequest(vehicle_id=vehicle, file_name="model.safetensors")
        return list(self.delivery().GetModel(request, timeout=10))

    def health(self) -> Any:
        return health_pb2_grpc.HealthStub(self.channel).Check(health_pb2.HealthCheckRequest(), timeout=10)

    def watch(self) -> Any:
        watching = health_pb2_grpc.HealthStub(self.channel).Watch(health_pb2.HealthCheckRequest(), timeout=10)
        first = next(watching)
        watching.cancel()
        return first


def refused(call: Callable[[], Any]) -> tuple[str, str | None]:
    """Status and reason of a call that has to fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    return error.code().name, dict(error.trailing_metadata() or ()).get(REASON_KEY)


UNAUTHENTICATED = ("UNAUTHENTICATED", "REASON_UNAUTHENTICATED")
DENIED = ("PERMISSION_DENIED", "REASON_PERMISSION_DENIED")
NO_CONNECTION = ("UNAVAILABLE", None)


def test_a_known_vehicle_is_served(server: LoopbackServer, fleet: Fleet) -> None:
    scene = make_scene()
    with Client(server, fleet.files("vehicle/car-1")) as client:
        assert client.handshake().protocol_version == 1
        stream = Stream(client)  # type: ignore[arg-type]
        assert stream.upload(scene).WhichOneof("answer") == "stored"
        assert stream.end() is grpc.StatusCode.OK
        (status,) = client.scene_status("car-1", scene.manifest.scene_id).scenes
        assert status.state == ingest_pb2.SceneStatus.STATE_STORED
        assert client.policy("car-1").codecs
        assert client.model("car-1")[1].chunk.data == PUBLISHED
        assert client.health().status == client.watch().status == health_pb2.HealthCheckResponse.SERVING


def test_the_uploader_sends_over_tls(server: LoopbackServer, fleet: Fleet, tmp_path: Path) -> None:
    with Outbox(tmp_path / "spool") as outbox:
        outbox.put(make_scene(size=300_000))
        report = Uploader(server.target, make_identity(), tls=fleet.files("vehicle/car-1")).run(outbox)
    assert (report.stored, report.streams) == (1, 1)


@pytest.mark.parametrize("kind", ["missing", "expired", "foreign", "server's own", "no TLS"])
def test_who_cannot_even_connect(server: LoopbackServer, fleet: Fleet, tmp_path: Path, kind: str) -> None:
    """The handshake of TLS ends these, before there is a call that could have a reason."""
    if kind in ("missing", "no TLS"):
        root = (fleet.server / files.CA).read_bytes()
        credentials = grpc.ssl_channel_credentials(root)
        secure = grpc.secure_channel(server.target, credentials)
        channel = secure if kind == "missing" else grpc.insecure_channel(server.target)
        with channel:
            stub = ingest_pb2_grpc.IngestStub(channel)
            assert refused(lambda: stub.Handshake(ingest_pb2.Hello(), timeout=10)) == NO_CONNECTION
        return
    if kind == "expired":
        shown = fleet.files(f"vehicle/{fleet.issue('vehicle/old', at=now() - 9 * DAY, days=8).name}")
    elif kind == "foreign":
        shown = Fleet(tmp_path / "other", "vehicle/car-1").files("vehicle/car-1")
        shown = replace(shown, ca=fleet.server / files.CA)  # believes, and is not believed
    else:
        shown = fleet.files("server/ingest")
    with Client(server, shown) as client:
        assert refused(client.handshake) == NO_CONNECTION


@pytest.mark.parametrize(
    ("holder", "call", "status"),
    [
        ("vehicle/car-2", lambda client: client.handshake("car-1"), DENIED),
        ("vehicle/car-2", lambda client: client.scene_status("car-1"), DENIED),
        ("vehicle/car-2", lambda client: client.policy("car-1"), DENIED),
        ("vehicle/car-2", lambda client: client.model("car-1"), DENIED),
        ("auditor/ann", lambda client: client.handshake("ann"), DENIED),
        ("operator/olaf", lambda client: client.handshake("car-1"), DENIED),
        ("auditor/ann", lambda client: client.model(), DENIED),
    ],
)
def test_who_may_not(server: LoopbackServer, fleet: Fleet, holder: str, call: Any, status: Any) -> None:
    with Client(server, fleet.files(holder)) as client:
        assert refused(lambda: call(client)) == status


@pytest.mark.parametrize(
    ("holder", "call"),
    [
        ("auditor/ann", lambda client: client.scene_status("car-1")),
        ("auditor/ann", lambda client: client.policy()),
        ("auditor/ann", lambda client: client.health()),
        ("operator/olaf", lambda client: client.model("car-1")),
        ("vehicle/car-2", lambda client: client.policy()),
    ],
)
def test_who_may(server: LoopbackServer, fleet: Fleet, holder: str, call: Any) -> None:
    with Client(server, fleet.files(holder)) as client:
        assert call(client) is not None


@pytest.mark.parametrize("role", ["auditor/ann", "operator/olaf"])
def test_only_vehicles_upload(server: LoopbackServer, fleet: Fleet, role: str) -> None:
    with Client(server, fleet.files(role)) as client:
        stream = Stream(client, hello=False)  # type: ignore[arg-type]
        stream.send(hello=convert.hello_to_message(make_identity()))
        assert (stream.status().name, stream.reason()) == DENIED


def test_a_vehicle_cannot_send_as_another(server: LoopbackServer, fleet: Fleet) -> None:
    with Client(server, fleet.files("vehicle/car-2")) as client:
        stream = Stream(client, hello=False)  # type: ignore[arg-type]
        stream.send(hello=convert.hello_to_message(make_identity("car-1")))
        assert (stream.status().name, stream.reason()) == DENIED
        stream = Stream(client, identity=make_identity("car-2"))  # type: ignore[arg-type]
        assert refusal(stream.begin(make_scene(vehicle="car-1"))) == ("REASON_PERMISSION_DENIED", False)
        own = make_scene(vehicle="car-2")
        assert stream.upload(own).WhichOneof("answer") == "stored"  # the stream went on
        assert stream.end() is grpc.StatusCode.OK
    assert [stored.scene_id for stored in server.archive.catalogue.scenes()] == [own.manifest.scene_id]


def test_a_vehicle_learns_nothing_of_another_ones_scene(server: LoopbackServer, fleet: Fleet) -> None:
    scene = make_scene()
    with Client(server, fleet.files("vehicle/car-1")) as client:
        Stream(client).upload(scene)  # type: ignore[arg-type]
    with Client(server, fleet.files("vehicle/car-2")) as client:
        (status,) = client.scene_status("car-2", scene.manifest.scene_id).scenes
    assert status.state == ingest_pb2.SceneStatus.STATE_UNKNOWN


def test_a_revoked_certificate_is_refused_without_restart(server: LoopbackServer, fleet: Fleet) -> None:
    with Client(server, fleet.files("vehicle/car-1")) as client:
        client.handshake()
        fleet.authority.revoke("vehicle/car-1", now())
        assert refused(client.handshake) == UNAUTHENTICATED  # over a connection that was made before
        assert refused(client.health) == UNAUTHENTICATED
        assert refused(client.model) == UNAUTHENTICATED
    with Client(server, fleet.files("vehicle/car-1")) as client:
        assert refused(client.handshake) == UNAUTHENTICATED
    with Client(server, fleet.files("vehicle/car-2")) as client:
        assert client.handshake("car-2").protocol_version == 1


def test_a_running_stream_ends_when_its_certificate_is_revoked(server: LoopbackServer, fleet: Fleet) -> None:
    scene = make_scene()
    with Client(server, fleet.files("vehicle/car-1")) as client:
        stream = Stream(client)  # type: ignore[arg-type]
        stream.begin(scene)
        fleet.authority.revoke("vehicle/car-1", now())
        stream.send(chunk=stream.chunks(scene)[0])
        assert (stream.status().name, stream.reason()) == UNAUTHENTICATED
    assert server.archive.store.partial_bytes(scene.manifest.scene_id) == 0


def test_rotation_keeps_the_old_certificate_until_it_is_revoked(
    server: LoopbackServer, fleet: Fleet, tmp_path: Path
) -> None:
    old = copy_of(fleet.files("vehicle/car-1"), tmp_path / "old")
    fleet.rotate("vehicle/car-1")
    serial = x509.load_pem_x509_certificate(
        old.certificate.read_bytes()
    ).serial_number  # both may be of the same second
    for shown in (old, fleet.files("vehicle/car-1")):
        with Client(server, shown) as client:
            assert client.handshake().protocol_version == 1
    fleet.authority.revoke(f"{serial:x}", now())
    with Client(server, old) as client:
        assert refused(client.handshake) == UNAUTHENTICATED
    with Client(server, fleet.files("vehicle/car-1")) as client:
        assert client.handshake().protocol_version == 1


def test_a_new_server_certificate_is_shown_without_restart(server: LoopbackServer, fleet: Fleet) -> None:
    import socket
    import ssl

    def shown() -> bytes:
        context = ssl.create_default_context(cafile=str(fleet.server / files.CA))
        with (
            socket.create_connection(("127.0.0.1", server.port), 10) as connection,
            context.wrap_socket(connection, server_hostname="localhost") as secure,
        ):
            return secure.getpeercert(binary_form=True) or b""

    with Client(server, fleet.files("vehicle/car-1")) as before:
        before.handshake()
        first = shown()
        fleet.rotate("server/ingest")
        assert shown() != first
        assert before.handshake().protocol_version == 1  # who is connected stays connected
    with Client(server, fleet.files("vehicle/car-1")) as client:
        assert client.handshake().protocol_version == 1


def test_rotation_of_the_authority_without_restart(server: LoopbackServer, fleet: Fleet, tmp_path: Path) -> None:
    old = copy_of(fleet.files("vehicle/car-1"), tmp_path / "old")  # has the old bundle, too
    fleet.authority.rotate_authority("Test CA", now(), 100)
    fleet.rotate("vehicle/car-2")
    for vehicle, shown in (("car-1", old), ("car-2", fleet.files("vehicle/car-2"))):
        with Client(server, shown) as client:
            assert client.handshake(vehicle).protocol_version == 1
    fleet.rotate("server/ingest")
    with Client(server, old) as client:
        assert refused(lambda: client.handshake("car-1")) == NO_CONNECTION  # it does not know the new authority
    with Client(server, fleet.files("vehicle/car-1")) as client:
        assert client.handshake("car-1").protocol_version == 1  # old certificate, new bundle
    fleet.authority.retire(now(), is_forced=True)
    with Client(server, replace(old, ca=fleet.server / files.CA)) as client:
        assert refused(lambda: client.handshake("car-1")) == NO_CONNECTION


def test_a_certificate_that_expires_while_its_connection_lasts(tmp_path: Path, fleet: Fleet) -> None:
    clock = {"now_s": now().timestamp()}
    tls = TlsFolder(TlsConfig(folder=fleet.server), now_s=lambda: clock["now_s"])
    with (
        LoopbackServer(tmp_path / "data", tls=tls) as server,
        Client(server, fleet.files("vehicle/car-1")) as client,
    ):
        assert client.handshake().protocol_version == 1
        clock["now_s"] += timedelta(days=11).total_seconds()
        assert refused(client.handshake) == UNAUTHENTICATED


def test_the_log_names_nobody(server: LoopbackServer, fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "server"), Client(server, fleet.files("vehicle/car-2")) as client:
        refused(lambda: client.handshake("car-1"))
        refused(lambda: client.scene_status("car-1"))
        stream = Stream(client, identity=make_identity("car-2"))  # type: ignore[arg-type]
        stream.begin(make_scene(vehicle="car-1"))
        stream.end()
        fleet.authority.revoke("vehicle/car-2", now())
        refused(client.health)
    said = " ".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert "revoked" in said
    assert "car-1" not in said
    assert "car-2" not in said
