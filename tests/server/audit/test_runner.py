"""A whole audit of drawn scans: report, schema, going on after an interruption, errors."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from server.audit import attacks
from server.audit.attacks.active_cells import ActiveCells
from server.audit.audit_config import AuditConfig, load_audit
from server.audit.families.reconstruction import CEILING, FLOOR_MEAN, FLOOR_RANDOM
from server.audit.runner import AuditRun
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
    plain = {**report, "cost": None, "made_at": None, "attacks": [{**each, "cost": None} for each in report["attacks"]]}
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
    assert {name.split("|")[1] for name in pictures.files} == {"most", "middle", "least", "first"}

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


KILLED = """
import os, signal, sys
from pathlib import Path
from server.audit.audit_config import load_audit
from server.audit.runner import AuditRun
from server.training import atomic_files

rename = os.replace

def die(source, target):
    if Path(target).name == "keypoint_list.json":
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)

atomic_files.os.replace = die
AuditRun(load_audit(Path(sys.argv[1])), Path(sys.argv[2])).run()
"""


def test_an_audit_that_was_killed_goes_on_and_has_the_same_report(
    audit_file: Path, tmp_path: Path, repository: Path
) -> None:
    """Killed with the last file of the second attack written and not yet in its place."""
    given = [sys.executable, "-c", KILLED, str(audit_file), str(tmp_path / "data")]
    killed = subprocess.run(given, cwd=repository, check=False, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    session = AuditRun(load_audit(audit_file), tmp_path / "data")
    named = {path.name for path in session.folder.path.iterdir()}
    assert {"active_cells.json", "keypoint_list.npz"} <= named
    assert not {"keypoint_list.json", "mean_scene.json", "report.json"} & named
    whole = AuditRun(load_audit(audit_file), tmp_path / "other").run()
    assert without_cost(session.run()) == without_cost(whole)


def test_the_cost_holds_what_former_calls_took(audit_file: Path, tmp_path: Path) -> None:
    session = AuditRun(load_audit(audit_file), tmp_path / "data")
    session.run()
    path = session.folder.path / "mean_scene.json"
    kept = json.loads(path.read_text())
    kept["cost"]["preparing_s"] = 5000.0
    path.write_text(json.dumps(kept))
    assert session.run()["cost"]["seconds"] >= 5000


def test_a_fresh_audit_begins_without_what_was_there(audit_file: Path, tmp_path: Path) -> None:
    audit = load_audit(audit_file)
    session = AuditRun(audit, tmp_path / "data")
    session.run()
    left = session.folder.work("mean_scene") / "step-00000001.pt"
    left.write_bytes(b"of a former training")
    AuditRun(audit, tmp_path / "data", is_fresh=True).run()
    assert not left.exists()


def test_other_heads_over_the_same_vehicle_part_are_another_audit(audit_file: Path, tmp_path: Path) -> None:
    """A folder with a checkpoint may be overwritten; the backbone's hash stays where only the heads have learned."""
    from shared_models import checkpoints, detectors

    detector = detectors.build("second_iou", "tiny", seed=0)
    hashes, folders = set(), set()
    for number in range(2):
        with torch.no_grad():
            next(detector.dense_head.parameters()).add_(number)
        shutil.rmtree(tmp_path / "checkpoint", ignore_errors=True)
        checkpoints.save(detector, tmp_path / "checkpoint", is_trained=False)
        session = AuditRun(load_audit(audit_file, [f'detector.checkpoint="{tmp_path}/checkpoint"']), tmp_path / "data")
        hashes.add(detector.backbone_hash)
        folders.add(session.folder.path.name)
    assert (len(hashes), len(folders)) == (1, 2)


def test_titles_that_would_share_a_file_are_refused(audit_file: Path) -> None:
    text = audit_file.read_text().replace('attack = "keypoint_list"', 'attack = "active_cells"\nlabel = "cells + 1"\n')
    audit_file.write_text(
        text.replace('attack = "active_cells"\nthreat', 'attack = "active_cells"\nlabel = "cells 1"\nthreat')
    )
    with pytest.raises((ConfigError, ValueError), match="as file names"):
        load_audit(audit_file)


def test_another_guard_codec_or_seed_is_another_audit(audit_file: Path, tmp_path: Path) -> None:
    changes = ([], ["seed=4"], ["upload.codec=int8"], ["upload.guard='decoys,share=0.25'"], ["detector.seed=1"])
    folders = {AuditRun(load_audit(audit_file, each), tmp_path).folder.path.name for each in changes}
    assert len(folders) == len(changes)


QUESTIONS = """
[[memberships]]
name = "labelled"
relation = "frames of the same generator"
members = { dataset = "kitti", root = "ROOT", split = "train" }
others = { dataset = "kitti", root = "ROOT", split = "val" }
[[threats]]
name = "all"
gives = ["paired", "white_box"]
origin = "the same generator"
[[attacks]]
attack = "detector"
threat = "all"
settings = { on = "active_cells" }
[[attacks]]
attack = "confidence"
threat = "all"
"""


@pytest.fixture
def question_file(audit_file: Path) -> Path:
    root = audit_file.parent / "kitti"
    text = audit_file.read_text().replace('[[attacks]]\nattack = "keypoint_list"\nthreat = "payloads"\n', "")
    audit_file.write_text(text.replace("[quick]", QUESTIONS.replace("ROOT", str(root)) + "[quick]\nasked = 3"))
    return audit_file


def test_every_kind_of_attack_is_reported_in_the_published_form(
    question_file: Path, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = load_audit(question_file)
    report = AuditRun(audit, tmp_path / "data").run()
    schema = json.loads((repository / "docs/audit-report.schema.json").read_text())
    assert json_schema.faults(json.loads(json.dumps(report)), schema, schema) == []
    kinds = {each["attack"]: each["kind"] for each in report["attacks"]}
    assert kinds["active_cells"] == "reconstruction"
    assert (kinds["detector"], kinds["confidence"]) == ("detector", "membership")
    assert [each["name"] for each in report["decision_groups"]] == ["labelled"]
    # Nothing is made again, also not what an attack in the middle of the list looks at.
    monkeypatch.setattr("server.audit.attacks.detector.StockDetector.detect", None)
    monkeypatch.setattr("server.audit.attacks.confidence.Confidence.membership_score", None)
    assert without_cost(AuditRun(audit, tmp_path / "data").run()) == without_cost(report)


def test_questions_without_scenes_or_detectors_are_refused(question_file: Path) -> None:
    text = question_file.read_text()
    without = text[: text.index("[[memberships]]")] + text[text.index('[[threats]]\nname = "all"') :]
    for wrong, message in (
        (text.replace('on = "active_cells"', 'on = "occupancy"'), "on: expected the title of an attack before it"),
        (text.replace('gives = ["paired", "white_box"]', 'gives = ["paired"]'), "needs white_box"),
        (text.replace('"confidence"\n', '"confidence"\nsettings = { calibration = "reference" }\n'), "needs reference"),
        (text.replace('attack = "confidence"', 'attack = "polar_map"'), r"asked about \[\[places\]\]"),
        (without, r"asked about \[\[memberships\]\]"),
        (text.replace('name = "labelled"', 'name = "a|b"'), "no '|'"),
    ):
        question_file.write_text(wrong)
        with pytest.raises((ConfigError, ValueError), match=message):
            load_audit(question_file)
    both = text.replace('["paired", "white_box"]', '["paired", "white_box", "reference"]')
    question_file.write_text(both.replace('"confidence"\n', '"confidence"\nsettings = { calibration = "reference" }\n'))
    with pytest.raises(ConfigError, match="labelled has no reference detector"):
        load_audit(question_file)


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


@pytest.mark.parametrize("name", ["audit-quick", "audit-full"])
def test_the_run_files_of_the_repository_are_complete(name: str, repository: Path) -> None:
    audit = load_audit(repository / f"deploy/runs/{name}.toml")
    assert isinstance(audit, AuditConfig)
    if name == "audit-full":
        assert {entry.attack for entry in audit.attacks} == set(attacks.attacks())
    assert {entry.attack for entry in audit.attacks} <= set(attacks.attacks())
    assert audit.upload.split_layer == "conv_out"
