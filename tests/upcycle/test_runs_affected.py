from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from server.repositories.pseudonym import vehicle_tag
from server.repositories.repository import StoredScene
from server.training.seen_scenes import SeenScenes
from shared_models.errors import InvalidValueError
from tests.loopback import make_scene
from upcycle.runs import app


def _stored(number: int) -> StoredScene:
    manifest = make_scene(number).manifest
    return StoredScene(scene_id=manifest.scene_id, manifest=manifest, stored_at_ns=number)


SCENES = [_stored(number) for number in range(3)]


def run(data: Path, *words: str):
    return CliRunner().invoke(app, ["affected", *words, "--data", str(data)])


def test_checkpoints_that_saw_a_vehicle_are_listed(tmp_path: Path) -> None:
    folder = tmp_path / "runs/first-0123456789/checkpoints"
    SeenScenes.of(SCENES[:1]).write(folder / "step-00000010")
    SeenScenes.of(SCENES).write(folder / "step-00000020")
    tag = vehicle_tag("car-1")
    assert run(tmp_path, "--vehicle", tag).stdout.splitlines() == [
        f"{folder}/step-00000010  1 scenes",
        f"{folder}/step-00000020  3 scenes",
        "2 affected",
    ]
    (row,) = map(json.loads, run(tmp_path, "--scene", SCENES[2].scene_id[:12], "--json").stdout.splitlines())
    assert row == {"run_id": "first-0123456789", "path": f"{folder}/step-00000020", "scenes": 1}
    (folder.parent / "run.json").write_text('{"recipe": "upcycling"}')
    (folder / "step-00000030").mkdir()
    assert f"{folder}/step-00000030  no record of its scenes" in run(tmp_path, "--vehicle", tag).stdout
    assert isinstance(run(tmp_path, "--vehicle", "car-1").exception, InvalidValueError)
    assert isinstance(run(tmp_path).exception, InvalidValueError)
