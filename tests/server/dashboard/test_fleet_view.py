"""The overview: vehicles under their tags, scenes page by page."""

from __future__ import annotations

import pytest

from server.dashboard.fleet_view import describe_fleet, describe_scenes
from server.repositories.memory import MemorySceneCatalogue
from server.repositories.pseudonym import vehicle_tag
from shared_models.errors import NotFoundError
from tests.dashboard_data import Client
from tests.loopback import BACKBONE, OTHER_BACKBONE, make_scene


@pytest.fixture
def catalogue() -> MemorySceneCatalogue:
    """Two scenes of car-1, one of car-2, which came between them."""
    made = MemorySceneCatalogue()
    made.add(make_scene(0, size=10).manifest, stored_at_ns=1_000_000_000)
    made.add(make_scene(0, size=5, vehicle="car-2").manifest, stored_at_ns=2_000_000_000)
    later = make_scene(1, size=20, codec="float32", backbone_hash=OTHER_BACKBONE)
    made.add(later.manifest, stored_at_ns=3_000_000_000)
    return made


def test_fleet(catalogue: MemorySceneCatalogue) -> None:
    fleet = describe_fleet(catalogue)
    assert (fleet["scenes"], fleet["payload_bytes"]) == (3, 35)
    assert fleet["vehicles"][0] == {
        "vehicle": vehicle_tag("car-1"),
        "scenes": 2,
        "payload_bytes": 30,
        "last_stored_at": "1970-01-01T00:00:03Z",
        "codecs": ("float32", "int8"),
        "backbone_hashes": (BACKBONE, OTHER_BACKBONE),
    }
    assert [each["vehicle"] for each in fleet["vehicles"]] == [vehicle_tag("car-1"), vehicle_tag("car-2")]


def test_scenes_newest_first_and_of_one_vehicle(catalogue: MemorySceneCatalogue) -> None:
    page = describe_scenes(catalogue, None, offset=1, limit=1)
    assert (page["total"], [each["payload_bytes"] for each in page["scenes"]]) == (3, [5])
    page = describe_scenes(catalogue, vehicle_tag("car-1"), offset=0, limit=10)
    assert (page["total"], [each["payload_bytes"] for each in page["scenes"]]) == (2, [20, 10])


def test_two_vehicles_with_one_tag_are_not_mixed_up(
    catalogue: MemorySceneCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.dashboard.fleet_view.vehicle_tag", lambda _: "00000000")
    with pytest.raises(NotFoundError, match="several vehicles"):
        describe_scenes(catalogue, "00000000", 0, 10)


@pytest.mark.parametrize("path", ["fleet", "scenes", "scenes/{id}"])
def test_no_vehicle_is_named(client: Client, path: str) -> None:
    scene_id = client.get("/api/v1/scenes").json()["scenes"][-1]["scene_id"]
    answer = client.get(f"/api/v1/{path.format(id=scene_id)}")
    assert vehicle_tag("car-1") in answer.text
    assert "car-1" not in answer.text
