from __future__ import annotations

import itertools

import pytest

from shared_models.errors import ConfigError, DatasetError, InvalidValueError
from vehicle_client.sensors.reading import Reading
from vehicle_client.sensors.replay import Clock, ReplayConfig, ReplaySensor


class SteppedTime:
    """Time that passes only when someone waits, or when `work_s` is spent on a scan."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now_s += seconds

    def clock(self) -> Clock:
        return Clock(monotonic_s=lambda: self.now_s, now_ns=lambda: int(self.now_s * 1e9) + 7, wait_s=self.wait)


def test_plays_every_frame_in_order(list_dataset):
    sensor = ReplaySensor(list_dataset(3))
    assert [r.frame_id for r in sensor.readings()] == ["0", "1", "2"]
    assert len(sensor) == 3


def test_shards_share_the_frames_without_overlap(list_dataset):
    config = [ReplayConfig(shard_index=i, shard_count=3) for i in range(3)]
    played = [[r.frame_id for r in ReplaySensor(list_dataset(7), c).readings()] for c in config]
    assert played == [["0", "3", "6"], ["1", "4"], ["2", "5"]]


def test_a_broken_frame_does_not_stop_the_drive(list_dataset):
    readings = list(ReplaySensor(list_dataset(3, broken=(1,))).readings())
    assert [r.frame is None for r in readings] == [False, True, False]
    assert isinstance(readings[1].error, DatasetError)


def test_scans_come_when_they_are_due_and_lateness_is_told(list_dataset):
    time = SteppedTime()
    sensor = ReplaySensor(list_dataset(4), ReplayConfig(rate_hz=10), time.clock())
    late_s = []
    for reading, work_s in zip(sensor.readings(), [0.03, 0.25, 0.0, 0.0], strict=True):
        late_s.append(reading.late_s)
        time.now_s += work_s
    # due at 0, 0.1, 0.2, 0.3 s; the second takes until 0.35 s
    assert late_s == pytest.approx([0, 0, 0.15, 0.05])
    assert time.waits == pytest.approx([0.07])


def test_one_pass_keeps_the_recorded_time_and_more_passes_get_their_own(list_dataset):
    time = SteppedTime()
    once = [r.frame.timestamp_ns for r in ReplaySensor(list_dataset(2), clock=time.clock()).readings() if r.frame]
    assert once == [0, 0]
    sensor = ReplaySensor(list_dataset(2), ReplayConfig(rate_hz=1, passes=2), time.clock())
    stamps = [r.frame.timestamp_ns for r in sensor.readings() if r.frame]
    assert len(set(stamps)) == 4


def test_zero_passes_repeat_without_end(list_dataset):
    sensor = ReplaySensor(list_dataset(2), ReplayConfig(passes=0))
    played = [r.frame_id for r in itertools.islice(sensor.readings(), 5)]
    assert played == ["0", "1", "0", "1", "0"]


def test_an_empty_shard_ends_at_once(list_dataset):
    config = ReplayConfig(passes=0, shard_index=1, shard_count=2)
    assert list(ReplaySensor(list_dataset(1), config).readings()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate_hz": -1.0},
        {"rate_hz": float("nan")},
        {"shard_index": 2, "shard_count": 2},
        {"shard_count": 0},
        {"passes": -1},
    ],
)
def test_a_wrong_configuration_is_refused(wrong):
    with pytest.raises(ConfigError, match="ReplayConfig"):
        ReplayConfig(**wrong)


def test_a_reading_is_a_frame_or_an_error():
    with pytest.raises(InvalidValueError, match="either a frame or an error"):
        Reading(frame_id="0")
