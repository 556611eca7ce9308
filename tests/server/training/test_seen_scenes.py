from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.repositories.pseudonym import vehicle_tag
from server.repositories.repository import StoredScene
from server.training.seen_scenes import FILE, Affected, SeenScenes, checkpoints_that_saw, read_seen
from shared_models.errors import DatasetError, InvalidValueError, NotFoundError
from tests.loopback import make_scene

ONE, TWO = vehicle_tag("car-1"), vehicle_tag("car-2")


def scenes(vehicle: str, *numbers: int) -> list[StoredScene]:
    manifests = [make_scene(number, vehicle=vehicle).manifest for number in numbers]
    return [StoredScene(scene_id=each.scene_id, manifest=each, stored_at_ns=1) for each in manifests]


def test_they_are_kept_by_vehicle_and_come_back(tmp_path: Path) -> None:
    seen = SeenScenes.of([*scenes("car-1", 1, 2, 2), *scenes("car-2", 1)])
    assert (len(seen), {tag: len(ids) for tag, ids in seen.by_vehicle.items()}) == (3, {ONE: 2, TWO: 1})
    assert read_seen(tmp_path) is None
    seen.write(tmp_path)
    assert read_seen(tmp_path) == seen
    text = (tmp_path / FILE).read_text()
    assert "car-" not in text
    assert list(json.loads(text)) == ["format", "vehicles"]
    SeenScenes().write(tmp_path)
    assert read_seen(tmp_path) == SeenScenes()


def test_joined_and_matching() -> None:
    one, more = SeenScenes.of(scenes("car-1", 1, 2)), SeenScenes.of([*scenes("car-1", 2, 3), *scenes("car-2", 5)])
    both = one.joined(more)
    assert both == more.joined(one)
    assert {tag: len(ids) for tag, ids in both.by_vehicle.items()} == {ONE: 3, TWO: 1}
    first, other = scenes("car-1", 1)[0].scene_id, scenes("car-2", 5)[0].scene_id
    assert both.matching(ONE) == 3
    assert both.matching("", [first, other[:12]]) == 2
    assert both.matching(ONE, [first, other]) == 4  # a scene of that vehicle counts once
    assert both.matching("00000000", ["0" * 64]) == 0
    assert both.matching() == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2, "vehicles": {}}', '{"format": 1, "vehicles": []}'])
def test_a_damaged_record_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DatasetError, match="take it for one that saw every scene"):
        read_seen(tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two runs: one with a record at each of two checkpoints and its state, one without any."""
    known, blind, labels = (tmp_path / "runs" / name for name in ("known-1", "blind-2", "labels-3"))
    for run, recipe in ((known, "upcycling"), (blind, "upcycling"), (labels, "supervised")):
        (run / "checkpoints/step-00000010").mkdir(parents=True)
        (run / "run.json").write_text(json.dumps({"recipe": recipe}))
    SeenScenes.of(scenes("car-1", 1)).write(known / "checkpoints/step-00000010")
    both = SeenScenes.of([*scenes("car-1", 1, 2), *scenes("car-2", 7)])
    both.write(known / "checkpoints/step-00000020")
    both.write(known / "state")
    return tmp_path


def test_the_affected_checkpoints_are_found(data: Path) -> None:
    folder = data / "runs/known-1"
    unknown = Affected(run_id="blind-2", path=data / "runs/blind-2/checkpoints/step-00000010", scenes=None)
    ten, twenty, state = (
        Affected(run_id="known-1", path=folder / part, scenes=count)
        for part, count in (("checkpoints/step-00000010", 1), ("checkpoints/step-00000020", 2), ("state", 2))
    )
    assert checkpoints_that_saw(data, vehicle=ONE) == [unknown, ten, twenty, state]
    found = checkpoints_that_saw(data, scene_ids=[scenes("car-2", 7)[0].scene_id[:10]])
    assert [(each.path.name, each.scenes) for each in found] == [
        ("step-00000010", None),
        ("step-00000020", 1),
        ("state", 1),
    ]
    assert checkpoints_that_saw(data, vehicle="00000000") == [unknown]
    (data / "nothing").mkdir()
    assert checkpoints_that_saw(data / "nothing", vehicle=ONE) == []


def test_several_vehicles_and_whole_ids(data: Path) -> None:
    tags = list(SeenScenes.of([*scenes("car-1", 1), *scenes("car-2", 7)]).by_vehicle)
    whole = [scene.scene_id for scene in (*scenes("car-1", 2), *scenes("car-2", 7))]
    for asked, counts in (({"vehicles": tags}, [1, 3, 3]), ({"scene_ids": whole}, [2, 2]), ({"vehicles": ["ff"]}, [])):
        found = checkpoints_that_saw(data, **asked)
        assert [each.scenes for each in found if each.run_id == "known-1"] == counts


@pytest.mark.parametrize("asked", [{}, {"vehicle": "car-1"}, {"scene_ids": ["XY"]}, {"scene_ids": [""]}])
def test_nonsense_is_refused(data: Path, asked) -> None:
    with pytest.raises(InvalidValueError, match="expected a vehicle's tag or ids of scenes"):
        checkpoints_that_saw(data, **asked)


def test_a_folder_that_is_not_there_is_no_all_clear(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such folder"):
        checkpoints_that_saw(tmp_path / "wrong", vehicle="ab")
