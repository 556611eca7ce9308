from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from shared_models.errors import (
    ConfigError,
    InvalidValueError,
    NotFoundError,
    PermissionDeniedError,
    StorageFullError,
    UnauthenticatedError,
    UnknownNameError,
)
from tests.fleet_pki import DAY, Fleet, now
from vehicle_client import weights
from vehicle_client.cli import app, host_name, replay_config
from vehicle_client.weights import LoadedDetector


@pytest.fixture(autouse=True)
def _keep_signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def replay(make_kitti, tmp_path: Path, detector, uploader, monkeypatch):
    """Runs `replay` on three frames with a counting detector and a fake server."""
    root = make_kitti()
    asked: dict[str, Any] = {}

    def load(name, setting, checkpoint, seed) -> LoadedDetector:
        asked.update(name=name, setting=setting, checkpoint=checkpoint, seed=seed)
        return LoadedDetector(detector=detector, name="counting", weights="no weights")

    monkeypatch.setattr(weights, "load_detector", load)
    monkeypatch.chdir(tmp_path)

    def run(*options: str) -> Result:
        run.root, run.asked = root, asked
        return CliRunner().invoke(app, ["replay", "--server", "localhost:1", "--root", str(root), *options])

    return run


def test_a_complete_drive_ends_with_0(replay, uploader, tmp_path: Path):
    result = replay("--vehicle-id", "car-1", "--codec", "float32", "--codec", "int8", "--report", "out/drive.json")
    assert result.exit_code == 0, result.output
    assert "3 frames used, 0 rejected; counting with no weights" in result.output
    report = json.loads((tmp_path / "out/drive.json").read_text())
    assert (report["vehicle_id"], report["scenes"], report["upload"]["stored"]) == ("car-1", 6, 6)
    assert report["detector"] == "counting"
    assert len(list((tmp_path / "state/car-1/detections").glob("*.npz"))) == 3


def test_options_reach_the_detector(replay):
    replay("--detector", "pv_rcnn", "--setting", "tiny", "--seed", "7")
    assert replay.asked == {"name": "pv_rcnn", "setting": "tiny", "checkpoint": None, "seed": 7}


def test_a_drive_with_a_broken_frame_ends_with_1(replay, make_kitti):
    (make_kitti() / "training/velodyne/000001.bin").write_bytes(b"12345")
    result = replay()
    assert result.exit_code == 1
    assert "2 frames used, 1 rejected" in result.output
    assert "rejected training-000001:" in result.output
    assert "expected a multiple of 16 bytes" in result.output.replace("\n", " ")


def test_without_detections_none_are_kept(replay, tmp_path: Path):
    assert replay("--no-detections", "--state", "own").exit_code == 0
    assert not (tmp_path / "own/detections").exists()


def test_the_vehicle_is_named_by_the_environment_or_the_host(replay, uploader, monkeypatch):
    replay()
    assert uploader.received[-1].manifest.vehicle_id == host_name()
    monkeypatch.setenv("UPCYCLE_VEHICLE_ID", "car-7")
    replay()
    assert uploader.received[-1].manifest.vehicle_id == "car-7"


def test_a_state_folder_keeps_the_vehicles_name(replay, uploader, monkeypatch):
    monkeypatch.setattr("vehicle_client.cli.host_name", lambda: "first-container")
    assert replay("--state", "volume").exit_code == 0
    monkeypatch.setattr("vehicle_client.cli.host_name", lambda: "second-container")
    assert replay("--state", "volume").exit_code == 0
    assert uploader.received[-1].manifest.vehicle_id == "first-container"
    refused = replay("--state", "volume", "--vehicle-id", "car-9")
    assert isinstance(refused.exception, ConfigError)
    assert "'first-container', not of 'car-9'" in str(refused.exception)


def test_one_thread_unless_told(replay, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr("vehicle_client.extractor.torch.set_num_threads", asked.append)
    for options in ((), ("--threads", "2"), ("--threads", "0")):
        assert replay(*options).exit_code == 0
    assert asked == [1, 2]


def test_help_and_health_do_not_wait_for_torch(repository: Path):
    program = "import sys, vehicle_client.cli; print({'torch', 'grpc', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_being_stopped_ends_with_130_and_a_report(replay, detector, tmp_path: Path):
    def stopped(features):
        os.kill(os.getpid(), signal.SIGTERM)

    detector.detect = stopped
    result = replay("--report", "drive.json")
    assert result.exit_code == 130
    assert json.loads((tmp_path / "drive.json").read_text())["upload"] is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (("--shard", "2"), ConfigError, "expected I/N"),
        (("--shard", "2/2"), ConfigError, "ReplayConfig"),
        (("--rate", "-1"), ConfigError, "rate_hz"),
        (("--codec", "int9"), UnknownNameError, "known: float16, float32, int4, int8"),
        (("--dataset", "kitty"), UnknownNameError, "unknown dataset 'kitty'; known: "),
        (("--guard", "cloak"), UnknownNameError, "unknown guard 'cloak'; known: "),
    ],
)
def test_wrong_options_are_refused(replay, options, error, message):
    result = replay(*options)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)


def test_a_shard_is_read():
    config = replay_config(10.0, "1/4", 2)
    assert (config.rate_hz, config.shard_index, config.shard_count, config.passes) == (10.0, 1, 4, 2)


def test_health(replay):
    with pytest.raises(NotFoundError):
        CliRunner().invoke(app, ["health", "--state", "state/car-1"], catch_exceptions=False)
    replay("--vehicle-id", "car-1")
    assert CliRunner().invoke(app, ["health", "--state", "state/car-1"]).exit_code == 0
    assert CliRunner().invoke(app, ["health", "--state", "state/car-1", "--max-age", "-1"]).exit_code == 1


def test_frames_are_selected_and_the_link_is_counted(replay, uploader):
    result = replay(
        "--select", "every,n=2,scenes_per_day=1", "--link", "cellular,daily_bytes=5000000", "--codec", "auto"
    )
    assert result.exit_code == 0, result.output
    assert [scene.manifest.codec for scene in uploader.received] == ["float16"]
    assert "1 frames selected (every: one of 2 frames)" in result.output
    assert "1 frames not selected (every: one of 2 frames)" in result.output
    assert "1 frames not selected (budget: 1 scenes per day)" in result.output
    assert "cellular: 0.0 MB sent today, 5.0 MB left today" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--select", "best"), "unknown selection 'best'"),
        (("--link", "lte"), "expected cellular, wifi, ethernet"),
        (("--bandwidth", "missing.toml"), "cannot be read"),
        (("--codec", "auto"), "codec auto: it stands alone and needs a link"),
    ],
)
def test_wrong_selections_and_links_are_refused(replay, options, message):
    assert message in str(replay(*options).exception)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "pki", "vehicle/car-1")


def test_a_certificate_names_the_vehicle(replay, uploader, fleet: Fleet, tmp_path: Path):
    folder = fleet.authority.folder / "vehicle/car-1"
    assert replay("--tls", str(folder)).exit_code == 0
    assert uploader.received[-1].manifest.vehicle_id == "car-1"
    assert uploader.tls == fleet.files("vehicle/car-1")
    assert (tmp_path / "state/car-1").is_dir()
    three = ("--ca", str(folder / "ca.pem"), "--cert", str(folder / "cert.pem"), "--key", str(folder / "key.pem"))
    assert replay("--vehicle-id", "car-1", *three).exit_code == 0
    assert uploader.tls == fleet.files("vehicle/car-1")


def test_without_a_certificate_nothing_is_encrypted(replay, uploader):
    assert replay().exit_code == 0
    assert uploader.tls is None


def test_certificates_that_end_the_drive_before_it_starts(replay, fleet: Fleet, tmp_path: Path):
    fleet.issue("vehicle/old", at=now() - 9 * DAY, days=8)
    for options, error in (
        (("--tls", str(fleet.authority.folder / "vehicle/old")), UnauthenticatedError),
        (("--tls", str(fleet.authority.folder / "vehicle/car-1"), "--vehicle-id", "car-2"), PermissionDeniedError),
        (("--tls", str(tmp_path / "nowhere")), ConfigError),
        (("--cert", "x.pem"), ConfigError),
    ):
        assert isinstance(replay(*options).exception, error), options


def test_health_of_a_certificate(replay, fleet: Fleet):
    replay("--vehicle-id", "car-1")
    folder = fleet.authority.folder / "vehicle"
    fleet.issue("vehicle/old", at=now() - 9 * DAY, days=8)
    health = ["health", "--state", "state/car-1", "--tls"]
    result = CliRunner().invoke(app, [*health, str(folder / "car-1")])
    assert (result.exit_code, "certificate valid for 10 more days" in result.stdout) == (0, True)
    assert isinstance(CliRunner().invoke(app, [*health, str(folder / "old")]).exception, UnauthenticatedError)


def test_region_class_and_outbox(replay, uploader, tmp_path: Path):
    options = ("--vehicle-id", "car-1", "--region", "Hessen", "--priority", "high", "--outbox-bytes", "1")
    result = replay(*options, "--report", "drive.json")
    assert result.exit_code == 1
    outbox = json.loads((tmp_path / "drive.json").read_text())["outbox"]
    assert (outbox["evicted_scenes"], outbox["pending_scenes"], outbox["delivered_scenes"]) == (3, 0, 0)
    assert (
        "outbox: 0 scenes wait (0.0 MB); since it was made 0 delivered, 3 dropped because it was full" in result.output
    )
    assert "dropped in this drive because the outbox was full: 3 scenes; raise --outbox-bytes" in result.output
    complete = replay("--vehicle-id", "car-1", "--region", "Hessen")
    assert complete.exit_code == 0
    assert "3 delivered, 3 dropped because it was full" in complete.output
    assert "in this drive" not in complete.output
    assert {scene.manifest.region for scene in uploader.received} == {"Hessen"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (("--priority", "top"), UnknownNameError, "unknown priority 'top'; known: high, low, routine, urgent"),
        (("--outbox-bytes", "0"), InvalidValueError, "OutboxConfig"),
        (("--outbox-bytes", "1", "--when-full", "refuse"), StorageFullError, "raise max_bytes"),
        (("--region", "a/b"), InvalidValueError, "region"),
    ],
)
def test_wrong_regions_classes_and_outboxes(replay, options, error, message):
    result = replay(*options)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
