"""Why no secure connection comes about, against real servers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from server.ingest.tls import TlsConfig, TlsFolder
from shared_models.errors import ConfigError, ServerUnreachableError, UnauthenticatedError
from tests.fleet_pki import DAY, Fleet, now
from tests.loopback import LoopbackServer, free_port, make_identity, make_scene
from vehicle_client.channel import open_channel
from vehicle_client.diagnosis import explain, split_target
from vehicle_client.outbox import Outbox
from vehicle_client.uploader import Uploader, UploaderConfig


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "pki", "vehicle/car-1")


def reason(server: LoopbackServer, tls: object) -> str:
    """What a drive says at its start."""
    with pytest.raises(UnauthenticatedError) as caught:
        Uploader(server.target, make_identity(), tls=tls).handshake()  # type: ignore[arg-type]
    return str(caught.value)


def test_nothing_is_wrong(tmp_path: Path, fleet: Fleet) -> None:
    with LoopbackServer(tmp_path / "data", tls=fleet.tls()) as server:
        assert explain(server.target, fleet.files("vehicle/car-1")) is None
    with LoopbackServer(tmp_path / "data2") as server:
        assert explain(server.target, None) is None


def test_nobody_is_there(fleet: Fleet) -> None:
    target = f"127.0.0.1:{free_port()}"
    assert explain(target, fleet.files("vehicle/car-1")) is None
    with pytest.raises(ServerUnreachableError, match="check that the server runs"):
        Uploader(target, make_identity(), tls=fleet.files("vehicle/car-1")).handshake()


def test_an_authority_that_the_vehicle_does_not_know(tmp_path: Path, fleet: Fleet) -> None:
    other = Fleet(tmp_path / "other", "vehicle/car-1")
    with LoopbackServer(tmp_path / "data", tls=fleet.tls()) as server:
        assert "authority that this vehicle does not know" in reason(server, other.files("vehicle/car-1"))


def test_an_authority_that_the_server_does_not_know(tmp_path: Path, fleet: Fleet) -> None:
    foreign = replace(Fleet(tmp_path / "other", "vehicle/car-1").files("vehicle/car-1"), ca=fleet.server / "ca.pem")
    with LoopbackServer(tmp_path / "data", tls=fleet.tls()) as server:
        assert "refuses this vehicle's certificate" in reason(server, foreign)


def test_a_name_that_the_server_does_not_have(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "pki", "vehicle/car-1")
    fleet.authority.revoke("server/ingest", now())
    fleet.server = fleet.issue("server/ingest", "ingest.example.org")
    with LoopbackServer(tmp_path / "data", tls=fleet.tls()) as server:
        said = reason(server, fleet.files("vehicle/car-1"))
    assert "not for '127.0.0.1'" in said
    assert "--host 127.0.0.1" in said


def test_a_server_whose_certificate_has_expired(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "pki", "vehicle/car-1")
    fleet.authority.revoke("server/ingest", now())
    fleet.server = fleet.issue("server/ingest", "127.0.0.1", at=now() - 9 * DAY, days=8)
    long_ago_s = (now() - timedelta(days=5)).timestamp()
    tls = TlsFolder(TlsConfig(folder=fleet.server), now_s=lambda: long_ago_s)
    with LoopbackServer(tmp_path / "data", tls=tls) as server:
        assert "not valid now" in reason(server, fleet.files("vehicle/car-1"))


def test_tls_on_one_side_only(tmp_path: Path, fleet: Fleet) -> None:
    with LoopbackServer(tmp_path / "data", tls=fleet.tls()) as server:
        assert "--tls DIR" in reason(server, None)
    with LoopbackServer(tmp_path / "data2") as server:
        assert "does not speak TLS" in reason(server, fleet.files("vehicle/car-1"))


def test_during_a_drive_it_is_said_and_scenes_wait(
    tmp_path: Path, fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    other = Fleet(tmp_path / "other", "vehicle/car-1")
    with LoopbackServer(tmp_path / "data", tls=fleet.tls()) as server, Outbox(tmp_path / "spool") as outbox:
        outbox.put(make_scene())
        impatient = UploaderConfig(give_up_after_s=0.0)
        tls = other.files("vehicle/car-1")
        with pytest.raises(ServerUnreachableError, match="authority that this vehicle does not know"):
            Uploader(server.target, make_identity(), impatient, tls=tls).run(outbox)
        assert outbox.counts().pending == 1
        for path in (tls.ca, tls.certificate, tls.key):  # as an operator would repair it, under the same names
            path.write_bytes((fleet.authority.folder / "vehicle/car-1" / path.name).read_bytes())
        assert Uploader(server.target, make_identity(), impatient, tls=tls).run(outbox).stored == 1
    assert "authority that this vehicle does not know" in caplog.text


@pytest.mark.parametrize("what", ["revoked", "another's"])
def test_what_the_server_says_ends_the_drive(tmp_path: Path, fleet: Fleet, what: str) -> None:
    fleet.issue("vehicle/car-2")
    if what == "revoked":
        fleet.authority.revoke("vehicle/car-1", now())
    tls = fleet.files("vehicle/car-1" if what == "revoked" else "vehicle/car-2")
    with LoopbackServer(tmp_path / "data", tls=fleet.tls()) as server, Outbox(tmp_path / "spool") as outbox:
        outbox.put(make_scene())
        with pytest.raises(Exception, match="revoked|another vehicle's") as caught:
            Uploader(server.target, make_identity(), tls=tls).run(outbox)
        assert outbox.counts().pending == 1
    assert type(caught.value).__name__ == ("UnauthenticatedError" if what == "revoked" else "PermissionDeniedError")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("localhost:50051", ("localhost", 50051)),
        ("[::1]:5", ("::1", 5)),
        ("dns:///host:1", ("host", 1)),
    ],
)
def test_targets(target: str, expected: tuple[str, int]) -> None:
    assert split_target(target) == expected


@pytest.mark.parametrize("target", ["localhost", "localhost:", ":5", "host:99999", "host:-1", ""])
def test_targets_without_a_port(target: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        split_target(target)


def test_a_channel_whose_files_are_gone(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        open_channel("localhost:1", replace(fleet.files("vehicle/car-1"), key=tmp_path / "nowhere"))
