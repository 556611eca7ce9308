"""A whole audit of drawn scans: report, schema, going on after an interruption, errors."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.audit import attacks
from server.audit.attacks.active_cells import ActiveCells
from server.audit.audit_config import AuditConfig, load_audit
from server.audit.runner import CEILING, FLOOR_MEAN, FLOOR_RANDOM, AuditRun
from shared_models.errors import ConfigError, StorageError, UnknownNameError

SPEC = importlib.util.spec_from_file_location("json_schema", Path(__file__).with_name("json_schema.py"))
assert SPEC is not None
assert SPEC.loader is not None
json_schema = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(json_schema)

FILE = """
name = "small"
seed = 3
[attacker]
dataset = "kitti"
root = "{root}"
split = "train"
[[victims]]
name = "held out"
relation = "other frames of the same generator"
frames = {{ dataset = "kitti", root = "{root}", split = "val" }}
[[threats]]
name = "payloads"
[[threats]]
name = "own scans"
gives = ["paired"]
origin = "the same generator"
[[attacks]]
attack = "active_cells"
threat = "payloads"
[[attacks]]
attack = "keypoint_list"
threat = "payloads"
[[attacks]]
attack = "mean_scene"
threat = "own scans"
[quick]
victims = 3
rounds = 50
budget = {{ scenes = 3 }}
[intervals]
fewest_scenes = 3
"""


@pytest.fixture
def audit_file(make_kitti, tmp_path: Path) -> Path:
    root = make_kitti(training=8, testing=0, points=1500)
    path = tmp_path / "audit.toml"
    path.write_text(FILE.format(root=root))
    return path


def without_cost(report: dict[str, Any]) -> str:
    plain = {**report, "cost": None, "attacks": [{**each, "cost": None} for each in report["attacks"]]}
    return json.dumps(plain, sort_keys=True)


def test_the_report_has_the_published_form_and_the_expected_order(
    audit_file: Path, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = load_audit(audit_file)
    told: list[tuple[str, int, int]] = []
    session = AuditRun(audit, tmp_path / "data", tell=lambda *words: told.append(words))
    report = session.run()
    schema = json.loads((repository / "docs/audit-report.schema.json").read_text())
    assert json_schema.faults(json.loads(json.dumps(report)), schema, schema) == []
    assert json_schema.faults({**report, "seed": "3"}, schema, schema) != []

    def f_score(numbers: dict[str, Any]) -> float:
        return float(numbers["held out"]["estimates"]["f_score_0.5m"]["mean"])

    found = {each["title"]: f_score(each["groups"]) for each in report["attacks"]}
    controls = {name: f_score(each) for name, each in report["controls"].items()}
    assert controls[CEILING] == 1
    assert found["keypoint_list"] == 0  # SECOND-IoU has no keypoints
    assert found["mean_scene"] == controls[FLOOR_MEAN]
    assert controls[FLOOR_RANDOM] < found["active_cells"] < controls[CEILING]
    assert ("active_cells: held out", 3, 3) in told

    pictures = np.load(session.folder.path / "active_cells.npz")
    assert {name.split("|")[1] for name in pictures.files} == {"most", "middle", "least"}

    def fail(*_: object) -> None:
        raise AssertionError("a finished attack was made again")

    monkeypatch.setattr(ActiveCells, "reconstruct", fail)
    again = AuditRun(audit, tmp_path / "data").run()
    assert without_cost(again) == without_cost(report)
    with pytest.raises(AssertionError, match="made again"):
        AuditRun(audit, tmp_path / "data", is_fresh=True).run()


def test_an_interrupted_audit_keeps_what_finished_and_nothing_half(
    audit_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: object, payload: bytes) -> None:
        raise KeyboardInterrupt

    audit = load_audit(audit_file)
    session = AuditRun(audit, tmp_path / "data")
    with monkeypatch.context() as patch:
        patch.setattr("server.audit.attacks.keypoint_list.KeypointList.reconstruct", interrupt)
        with pytest.raises(KeyboardInterrupt):
            session.run()
    kept = {path.name for path in session.folder.path.iterdir()}
    assert kept == {"active_cells.json", "active_cells.npz", "config.json", "work"}
    assert [each["title"] for each in session.run()["attacks"]] == ["active_cells", "keypoint_list", "mean_scene"]
    (session.folder.path / "active_cells.json").write_text("{")
    with pytest.raises(StorageError, match="delete it"):
        session.run()


def test_another_guard_codec_or_seed_is_another_audit(audit_file: Path, tmp_path: Path) -> None:
    changes = ([], ["seed=4"], ["upload.codec=int8"], ["upload.guard='decoys,share=0.25'"], ["detector.seed=1"])
    folders = {AuditRun(load_audit(audit_file, each), tmp_path).folder.path.name for each in changes}
    assert len(folders) == len(changes)


def test_too_few_scenes_and_shared_scenes_are_refused(audit_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="held out: 2 scenes are too few for an interval"):
        AuditRun(load_audit(audit_file, ["quick.victims=2"]), tmp_path).run()
    with pytest.raises(ConfigError, match="share"):
        AuditRun(load_audit(audit_file, ["attacker.split=val"]), tmp_path).run()


def test_wrong_files_are_refused_with_the_key(audit_file: Path) -> None:
    text = audit_file.read_text()
    for old, new, message in (
        ('threat = "payloads"', 'threat = "nobody"', "unknown threat 'nobody'"),
        ('attack = "mean_scene"\nthreat = "own scans"', 'attack = "mean_scene"\nthreat = "payloads"', "needs paired"),
        ('attack = "keypoint_list"', 'attack = "active_cells"', "different names"),
        ("[quick]", "[attack_me]\nx = 1\n[quick]", "unknown key"),
        ('name = "small"', 'name = "small"\nupload.guard = "magic"', "magic"),
        ('attack = "keypoint_list"\n', 'attack = "keypoint_list"\nsettings = { x = 1 }\n', "keypoint_list.settings"),
    ):
        assert old in text
        audit_file.write_text(text.replace(old, new, 1))
        with pytest.raises((ConfigError, ValueError), match=message):
            load_audit(audit_file)
    audit_file.write_text(text.replace('attack = "keypoint_list"', 'attack = "magic"'))
    with pytest.raises(UnknownNameError, match="active_cells"):
        load_audit(audit_file)


def test_the_run_file_of_the_repository_is_complete(repository: Path) -> None:
    audit = load_audit(repository / "deploy/runs/audit-quick.toml")
    assert isinstance(audit, AuditConfig)
    assert {entry.attack for entry in audit.attacks} <= set(attacks.attacks())
    assert audit.upload.split_layer == "conv_out"
