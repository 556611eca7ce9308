"""Stored bytes against quotas: over restarts, pseudonyms, days and removals."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.ingest.limits import LimitsConfig
from server.ingest.quotas import VehicleQuotas
from server.ingest.refusals import TryLaterError
from server.repositories.memory import MemorySceneCatalogue
from server.repositories.pseudonym import PseudonymConfig, Pseudonyms
from server.repositories.repository import CatalogueCounts, SceneFilter
from tests.loopback import make_scene

DAY_NS = 86_400 * 10**9
NOON_NS = 20_000 * DAY_NS + DAY_NS // 2


class Clock:
    now_ns = NOON_NS

    def __call__(self) -> int:
        return self.now_ns


class CountingCatalogue(MemorySceneCatalogue):
    """Counts how often it is asked."""

    asked = 0

    def counts(self, where: SceneFilter | None = None) -> CatalogueCounts:
        self.asked += 1
        return super().counts(where)


def make(catalogue: MemorySceneCatalogue, clock: Clock, key: Pseudonyms | None = None, **limits: int) -> VehicleQuotas:
    return VehicleQuotas(LimitsConfig(**limits), catalogue, key, clock)


def refused(quotas: VehicleQuotas, size: int, vehicle: str = "car-1") -> tuple[str, float]:
    with pytest.raises(TryLaterError) as caught:
        quotas.check(vehicle, size)
    return caught.value.limit, caught.value.retry_after_ms / 1000


def test_without_a_quota_nothing_is_asked() -> None:
    catalogue = CountingCatalogue()
    quotas = make(catalogue, Clock())
    quotas.check("car-1", 2**60)
    quotas.add("car-1", 2**60)
    assert catalogue.asked == 0


def test_the_catalogue_is_asked_once_and_survives_a_restart() -> None:
    catalogue, clock = CountingCatalogue(), Clock()
    quotas = make(catalogue, clock, vehicle_stored_bytes=30_000)
    for number in range(2):
        quotas.check("car-1", 10_000)
        catalogue.add(make_scene(number).manifest, clock())
        quotas.add("car-1", 10_000)
    assert catalogue.asked == 1
    for each in (quotas, make(catalogue, clock, vehicle_stored_bytes=30_000)):
        each.check("car-1", 10_000)
        assert refused(each, 10_001) == ("stored_bytes", 3600.0)
        each.check("car-2", 30_000)


def test_a_vehicle_keeps_its_quota_when_its_name_changes() -> None:
    catalogue, clock = MemorySceneCatalogue(), Clock()
    key = Pseudonyms(b"k" * 32, PseudonymConfig(period_days=1))
    for number, days in enumerate((0, 3, 400)):
        at_ns = clock() - days * DAY_NS
        manifest = replace(make_scene(number).manifest, vehicle_id=key.stored_name("car-1", at_ns))
        catalogue.add(manifest, at_ns, make_scene(number).manifest.scene_id)
    assert len({each.vehicle_id for each in catalogue.vehicles()}) == 3
    quotas = make(catalogue, clock, key, vehicle_stored_bytes=30_000)
    assert refused(quotas, 1)[0] == "stored_bytes"
    quotas.check("car-2", 30_000)


def test_a_day_has_its_own_quota() -> None:
    catalogue, clock = MemorySceneCatalogue(), Clock()
    catalogue.add(make_scene(0).manifest, clock() - DAY_NS)  # yesterday's does not count
    catalogue.add(make_scene(1).manifest, clock())
    quotas = make(catalogue, clock, vehicle_day_bytes=20_000)
    quotas.check("car-1", 10_000)
    quotas.add("car-1", 10_000)
    assert refused(quotas, 1) == ("day_bytes", 3600.0)
    clock.now_ns += DAY_NS // 2 - 60 * 10**9
    quotas.add("car-1", 10_000)
    catalogue.add(make_scene(2).manifest, clock())
    clock.now_ns += 60 * 10**9
    quotas.check("car-1", 20_000)  # midnight, UTC
    assert refused(quotas, 20_001)[0] == "day_bytes"


def test_waits_no_longer_than_until_midnight() -> None:
    catalogue, clock = MemorySceneCatalogue(), Clock()
    clock.now_ns += DAY_NS // 2 - 90 * 10**9
    assert refused(make(catalogue, clock, vehicle_day_bytes=1), 2) == ("day_bytes", 90.0)


def test_removed_scenes_make_room_again() -> None:
    catalogue, clock = CountingCatalogue(), Clock()
    quotas = make(catalogue, clock, vehicle_stored_bytes=10_000)
    catalogue.add(make_scene(0).manifest, clock())
    assert refused(quotas, 1)[0] == "stored_bytes"
    catalogue.remove([make_scene(0).manifest.scene_id])
    refused(quotas, 1)
    assert catalogue.asked == 1  # a vehicle that keeps asking does not keep the database busy
    clock.now_ns += 31 * 10**9
    quotas.check("car-1", 10_000)
    assert catalogue.asked == 2
