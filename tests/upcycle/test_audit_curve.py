"""`upcycle audit curve`: real small trainings and audits, resumed cell by cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from server.training.preparation import make_detector
from shared_models import checkpoints, guards
from shared_models.errors import ConfigError, DatasetError
from tests.server.audit.json_schema import faults
from tests.small_runs import merged_tables, small_run, small_table, write_frames
from upcycle import audit_curve_session
from upcycle.audit import app

CURVE = """
name = "small"
checkpoint = "{checkpoint}"
metrics = ["ap_all/loose/car/bev/moderate"]
measures = ["f_score_0.2m", "verbatim_share"]
rounds = 4
[training]
base = "run.json"
change.loop.steps = 1
[audit]
base = "audit.toml"
[[controls]]
name = "labelled only"
change.recipe = "supervised"
[[cells]]
name = "none"
[[cells]]
name = "channels"
guard = "channels"
codec = "int8"
"""
AUDIT = """
[[victims]]
name = "home"
relation = "other drives"
frames = {{ dataset = "kitti", root = "{root}", split = "all" }}
[[threats]]
name = "payloads"
[[attacks]]
attack = "active_cells"
threat = "payloads"
[quick]
victims = 2
rounds = 5
[intervals]
fewest_scenes = 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curve")
    labelled, others, held_out = (write_frames(folder / name, 2) for name in ("labelled", "unlabelled", "held_out"))
    data = {
        "unlabelled": {"dataset": "kitti", "root": str(others), "split": "all"},
        "evaluation": {"dataset": "kitti", "root": str(held_out), "split": "all"},
    }
    table = merged_tables(small_table(labelled, "recipe=upcycling"), {"data": data})
    (folder / "run.json").write_text(json.dumps(table))
    (folder / "audit.toml").write_text(AUDIT.format(root=held_out))
    detector = make_detector(small_run(labelled).detector, 5).eval()
    checkpoints.save(detector, folder / "checkpoint", is_trained=True)
    (folder / "curve.toml").write_text(CURVE.format(checkpoint=folder / "checkpoint"))
    return folder


def invoke(folder: Path, *words: str) -> Any:
    arguments = ["curve", "--run", str(folder / "curve.toml"), "--data", str(folder / "data"), *words]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def made(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "data/audits/curves").glob("small-*/curve.json")
    return dict(json.loads(path.read_text()))


def test_a_curve_goes_on_cell_by_cell(folder: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoke(folder, "--only", "none")
    assert result.exit_code == 0
    for words in ("home: 2 real scenes", "labelled only: loose/car", "before training: loose/car", "ceiling: raw"):
        assert words in result.stdout
    assert "1 of 2 cells are not made yet: channels" in result.stdout
    curve = made(folder)
    assert [cell["state"] for cell in curve["cells"]] == ["finished", "missing"]

    trained, train = [], audit_curve_session.training_session.train
    monkeypatch.setattr(
        audit_curve_session.training_session, "train", lambda run, *rest: trained.append(run.name) or train(run, *rest)
    )
    assert invoke(folder).exit_code == 0
    assert trained == ["small-channels"]  # the rest was finished
    curve = made(folder)
    schema = json.loads((repository / "docs/audit-curve.schema.json").read_text())
    assert faults(curve, schema, schema) == []
    none, channels = curve["cells"]
    assert [cell["state"] for cell in curve["cells"]] == ["finished", "finished"]
    assert none == made(folder)["cells"][0]
    assert (channels["guard"], channels["codec"]) == (guards.build("channels").described(), "int8")
    assert 0 < channels["bytes_per_scene"] < none["bytes_per_scene"]
    assert none["leakage"]["home"]["f_score_0.2m"]["attack"] == "active_cells"
    report = json.loads((folder / "data/audits" / channels["audit_id"] / "report.json").read_text())
    assert (report["scope"]["guard"], report["scope"]["codec"]) == (channels["guard"], "int8")
    home = report["attacks"][0]["groups"]["home"]["estimates"]
    assert channels["leakage"]["home"]["f_score_0.2m"]["estimate"] == home["f_score_0.2m"]
    metric = "ap_all/loose/car/bev/moderate"
    for numbers in (curve["start"], curve["controls"][0]["ap"], none["ap"], channels["ap"]):
        assert numbers[metric]["scenes"] == 2
    assert curve["ceilings"]["home"]["raw points"]["verbatim_share"]["mean"] == 1
    assert (curve["training"]["labelled"], curve["training"]["evaluation"]["frames"]) == (2, 2)

    trained.clear()
    assert invoke(folder, "--show").exit_code == 0
    assert invoke(folder).exit_code == 0
    assert trained == []


def test_a_cell_that_fails_is_reported_and_the_next_one_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audited = audit_curve_session.CurveSession._audited

    def fail(self: Any, audit: Any) -> Any:
        if audit.upload.guard == "none":
            raise DatasetError("the disk is tired")
        return audited(self, audit)

    monkeypatch.setattr(audit_curve_session.CurveSession, "_audited", fail)
    result = invoke(folder, "--set", "measures=['f_score_0.5m']")  # another curve, the same trainings
    assert result.exit_code == 1
    assert "1 could not be made" in result.stdout
    assert "none: DatasetError: the disk is tired" in result.stdout
    paths = sorted((folder / "data/audits/curves").glob("small-*/curve.json"), key=lambda path: path.stat().st_mtime_ns)
    cells = json.loads(paths[-1].read_text())["cells"]
    assert [(cell["state"], cell["error"]) for cell in cells] == [
        ("failed", "DatasetError: the disk is tired"),
        ("finished", ""),
    ]


def test_what_is_wrong_is_said(folder: Path) -> None:
    with pytest.raises(ConfigError, match="--only shield: no such cell"):
        invoke(folder, "--only", "shield")
    with pytest.raises(ConfigError, match="needs a checkpoint"):
        invoke(folder, "--set", "checkpoint=''")
