"""`upcycle audit` from a file to tables and a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shared_models.errors import ConfigError, DeviceError
from upcycle.audit import app

FILE = """
name = "small"
[[victims]]
name = "held out"
relation = "nobody's own"
frames = {{ dataset = "kitti", root = "{root}", split = "training" }}
[[threats]]
name = "payloads"
[[attacks]]
attack = "active_cells"
threat = "payloads"
[quick]
victims = 2
rounds = 20
[full]
victims = 3
rounds = 20
[intervals]
fewest_scenes = 2
"""


@pytest.fixture
def audit_file(make_kitti, tmp_path: Path) -> Path:
    path = tmp_path / "audit.toml"
    path.write_text(FILE.format(root=make_kitti(training=3, testing=0, points=800)))
    return path


def test_tables_name_floor_attack_and_ceiling_and_the_report_is_written(audit_file: Path, tmp_path: Path) -> None:
    arguments = ["--run", str(audit_file), "--data", str(tmp_path / "data"), "--guard", "coarse,side=2"]
    result = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "r.json")], catch_exceptions=False)
    assert result.exit_code == 0
    for words in (
        "held out: 2 real scenes",
        "floor: random",
        "active_cells",
        "ceiling: raw",
        "coarse,side=2",
        "Not tested",
    ):
        assert words in result.output
    assert "safe" not in result.output
    assert "SIMULATED" not in (page := (tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.count('type="text/plain"') == 3  # best, median and worst scene of the one attack
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["scope"]["guard"] == "coarse,side=2"
    assert [len(group["scenes"]) for group in report["victims"]] == [2]


def test_full_takes_the_larger_size_and_keeps_its_report_beside_the_attacks(audit_file: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["--run", str(audit_file), "--data", str(tmp_path), "--full", "--set", "seed=9"], catch_exceptions=False
    )
    assert result.exit_code == 0
    (found,) = (tmp_path / "audits").glob("small-full-*/report.json")
    report = json.loads(found.read_text())
    assert (report["effort"], report["seed"], len(report["victims"][0]["scenes"])) == ("full", 9, 3)


def test_what_is_wrong_is_said(audit_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def invoke(*more: str) -> None:
        CliRunner().invoke(app, ["--run", str(audit_file), "--data", str(tmp_path), *more], catch_exceptions=False)

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(DeviceError, match="finds no GPU"):
        invoke("--device", "cuda")
    with pytest.raises(ConfigError, match="quick.no_such"):
        invoke("--set", "quick.no_such=1")
    with pytest.raises(ConfigError, match="magic"):
        invoke("--guard", "magic")
