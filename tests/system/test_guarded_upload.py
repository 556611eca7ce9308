"""From an audit to scenes that are stored under the guard that was audited, with the server as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from server.cli import app as server_app
from server.repositories.archive import open_archive
from server.repositories.repository import SceneFilter
from shared_models import detectors
from shared_models.errors import ConfigError, GuardRefusedError, ServerUnreachableError
from tests.loopback import free_port
from upcycle.audit import app
from vehicle_client.drive import Drive, DriveConfig
from vehicle_client.outbox import Outbox

GUARD = "coarse,side=4"
AUDIT = """
name = "small"
[upload]
codec = "float16"
guard = "{guard}"
[attacker]
dataset = "kitti"
root = "{root}"
split = "train"
[[victims]]
name = "held out"
relation = "nobody's own"
frames = {{ dataset = "kitti", root = "{root}", split = "val" }}
[[victims]]
name = "elsewhere"
optional = true
relation = "another city"
frames = {{ dataset = "kitti", root = "{root}/none" }}
[[threats]]
name = "payloads"
[[attacks]]
attack = "active_cells"
threat = "payloads"
[quick]
victims = 2
rounds = 20
[intervals]
fewest_scenes = 2
"""
POLICY = """
guard = "coarse,side=4"
least_scenes = 2
[[required]]
attack = "active_cells"
[[limits]]
measure = "f_score_0.2m"
most = {most}
"""


@pytest.fixture
def root(make_kitti) -> Path:
    made: Path = make_kitti(training=8, testing=0, points=800)
    return made


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY.format(most=0.9))
    return path


def audited(root: Path, folder: Path) -> Path:
    """A report."""
    run, report = folder / "audit.toml", folder / "report.json"
    run.write_text(AUDIT.format(root=root, guard=GUARD))
    arguments = ["--run", str(run), "--data", str(folder / "data"), "--json", str(report)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return report


def gate(*given: object) -> int:
    report, policy, *more = map(str, given)
    return CliRunner().invoke(app, ["gate", report, "--policy", policy, *more]).exit_code


def options(data: Path, policy: Path, audit: Path) -> list[str]:
    return ["serve", "--data", str(data), "--port", "0", "--upload-policy", str(policy), "--audit", str(audit)]


@contextmanager
def serving(repository: Path, *given: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "upcycle", "server", *options(*given)]
    process = subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on "), line
        try:
            yield line.removeprefix("listening on ").strip()
        finally:
            process.kill()


def drive(server: str, root: Path, state: Path, **changed: Any) -> tuple[Drive, DriveConfig]:
    given = {"server": server, "root": root, "split": "val", "vehicle_id": state.name, "state": state}
    config = DriveConfig(**{**given, "codecs": ("float16",), "give_up_after_s": 30.0, **changed})
    return Drive(config, detectors.build("second_iou", "tiny")), config


def unguarded_scenes_wait(root: Path, state: Path) -> None:
    """A drive that was told to use no guard, while no server answered."""
    early, _ = drive(f"127.0.0.1:{free_port()}", root, state, guard="none", give_up_after_s=0.01)
    with pytest.raises(ServerUnreachableError):
        early.run()


def test_only_what_was_audited_leaves_and_is_stored(root: Path, policy: Path, tmp_path: Path, repository: Path) -> None:
    report, attestation = audited(root, tmp_path), tmp_path / "attestation.json"
    assert gate(report, policy, "--write", attestation) == 0
    unguarded_scenes_wait(root, tmp_path / "late-car")
    with serving(repository, tmp_path / "server", policy, attestation) as server:
        made, config = drive(server, root, tmp_path / "car")
        result = made.run()
        assert result.is_complete
        assert result.report(config, {})["guard"] == {"guard": GUARD, "frames": 4, "frames_changed": 4}

        with pytest.raises(GuardRefusedError, match="leave out --guard"):
            drive(server, root, tmp_path / "other-car", guard="none")[0].run()
        assert not (tmp_path / "other-car").exists()

        late = drive(server, root, tmp_path / "late-car")[0].run()
        assert late.upload is not None
        assert (late.upload.stored, late.upload.payload_bytes) == (4, result.upload.payload_bytes)
        assert [type(each.error) for each in late.upload.refusals] == [GuardRefusedError] * 4
        with Outbox(tmp_path / "late-car" / "outbox") as outbox:
            assert (outbox.counts().pending, outbox.counts().dead) == (0, 4)

    archive = open_archive(tmp_path / "server")
    assert archive.catalogue.counts().scenes == 8
    assert len(list(archive.catalogue.scenes(SceneFilter(guard=GUARD)))) == 8
    archive.close()


def test_without_a_passed_audit_no_server_starts(root: Path, policy: Path, tmp_path: Path) -> None:
    report = audited(root, tmp_path)
    found = json.loads(report.read_text())
    assert [group["name"] for group in found["victims"]] == ["held out"]  # the others are optional and not there
    assert found["scope"]["guard_effect"] == {"payloads": 2, "changed": 2}
    assert f"scenes of the group 'elsewhere': {root}/none is not there" in found["not_tested"]

    strict, other = POLICY.format(most=0.001), POLICY.format(most=0.9).replace(GUARD, "none")
    refusals = ((strict, "its upper bound passes the limit"), (other, "guard: expected none, audited coarse,side=4"))
    for text, message in refusals:
        policy.write_text(text)
        assert gate(report, policy) == 1
        result = CliRunner().invoke(server_app, options(tmp_path / "server", policy, report))
        assert isinstance(result.exception, ConfigError)
        assert message in str(result.exception)
        assert not (tmp_path / "server").exists()
