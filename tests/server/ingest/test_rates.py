"""Token buckets, against times worked out by hand."""

from __future__ import annotations

import pytest

from server.ingest.limits import LimitsConfig
from server.ingest.rates import VehicleRates
from server.ingest.refusals import TryLaterError


def refused_for_ms(rates: VehicleRates, size: int, now_s: float, vehicle: str = "car-1") -> tuple[int, str]:
    with pytest.raises(TryLaterError) as caught:
        rates.take(vehicle, size, now_s)
    return caught.value.retry_after_ms, caught.value.limit


def test_scenes_per_second() -> None:
    rates = VehicleRates(LimitsConfig(vehicle_scenes_s=2.0, vehicle_burst_scenes=3))
    for _ in range(3):
        rates.take("car-1", 100, 10.0)
    assert refused_for_ms(rates, 100, 10.0) == (500, "scene_rate")
    rates.take("car-2", 100, 10.0)  # each vehicle has its own
    assert refused_for_ms(rates, 100, 10.4) == (100, "scene_rate")
    rates.take("car-1", 100, 10.5)
    for _ in range(3):
        rates.take("car-1", 100, 1000.0)  # no more than the burst after a long pause
    assert refused_for_ms(rates, 100, 1000.0) == (500, "scene_rate")


def test_bytes_per_second_and_giving_back() -> None:
    rates = VehicleRates(LimitsConfig(vehicle_bytes_s=100.0, vehicle_burst_bytes=1000))
    rates.take("car-1", 900, 0.0)
    assert refused_for_ms(rates, 300, 0.0) == (2000, "byte_rate")
    rates.give_back("car-1", 200, 0.0)
    rates.take("car-1", 300, 0.0)
    assert refused_for_ms(rates, 10, 0.0) == (100, "byte_rate")


def test_a_scene_larger_than_the_burst_waits_for_a_full_bucket_and_is_paid_for() -> None:
    rates = VehicleRates(LimitsConfig(vehicle_bytes_s=100.0, vehicle_burst_bytes=1000))
    rates.take("car-1", 5000, 0.0)
    assert refused_for_ms(rates, 1, 0.0) == (40_010, "byte_rate")
    rates.take("car-1", 1, 40.01)


def test_a_refused_scene_takes_nothing() -> None:
    rates = VehicleRates(LimitsConfig(vehicle_scenes_s=1.0, vehicle_burst_scenes=1, vehicle_bytes_s=10.0))
    rates.take("car-1", 64 << 20, 0.0)
    for _ in range(5):
        assert refused_for_ms(rates, 100, 2.0)[1] == "byte_rate"


def test_forgotten_vehicles() -> None:
    rates = VehicleRates(LimitsConfig(vehicle_scenes_s=1.0, vehicle_burst_scenes=1, vehicles_remembered=2))
    for vehicle in ("a", "b", "c"):
        rates.take(vehicle, 1, 0.0)
    rates.take("a", 1, 0.0)  # was forgotten
    assert refused_for_ms(rates, 1, 0.0, "c") == (1000, "scene_rate")
