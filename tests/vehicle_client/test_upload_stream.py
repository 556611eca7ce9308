"""What a stream does when its chunks may not go; without network, clock or threads."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protos import convert
from protos.policy import ServerTerms
from protos.report import VehicleReport
from protos.v1 import ingest_pb2 as pb
from tests.loopback import fill, make_identity, make_policy, make_scene
from vehicle_client.bandwidth import Wait
from vehicle_client.outbox import Outbox, OutboxConfig
from vehicle_client.upload_stream import UploadStream
from vehicle_client.upload_tally import Tally


class ScriptedGate:
    """Answers each question with the next of its waits; then everything may go."""

    def __init__(self, *waits: Wait | None, chunk_bytes: int = 1 << 20) -> None:
        self.waits, self._chunk_bytes = list(waits), chunk_bytes
        self.asked: list[int] = []

    def chunk_bytes(self) -> int:
        return self._chunk_bytes

    def ask(self, size: int) -> Wait | None:
        self.asked.append(size)
        return self.waits.pop(0) if self.waits else None

    def closed(self) -> Wait | None:
        return None


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "spool") as opened:
        yield opened


class Driver:
    """Plays the server: welcomes, tells where to send from, and looks at what comes."""

    def __init__(self, outbox: Outbox, gate: ScriptedGate, tally: Tally | None = None, **terms: Any) -> None:
        self.waited_s: list[float] = []
        self.now_s = 0.0
        self.tally = tally or Tally()
        self.stream = UploadStream(
            make_identity(), outbox, self.tally, 4, 5, gate, self._wait, clock_s=lambda: self.now_s
        )
        self.messages = self.stream.messages()
        next(self.messages)  # hello
        welcome = convert.welcome_to_message(ServerTerms(protocol_version=1, policy=make_policy(), **terms))
        self.stream.receive(pb.UploadResponse(welcome=welcome))
        self.first = next(self.messages)  # the vehicle's report

    def _wait(self, condition: threading.Condition, seconds: float) -> None:
        self.waited_s.append(seconds)
        assert len(self.waited_s) < 100, "waits without end"

    def begin(self) -> bytes:
        message = next(self.messages)
        self.answer(message.begin.scene_id, send_from=pb.SendFrom(offset=0))
        return message.begin.scene_id

    def answer(self, scene_id: bytes, **answer: Any) -> None:
        self.stream.receive(pb.UploadResponse(scene=pb.SceneAnswer(scene_id=scene_id, **answer)))


def test_a_chunk_waits_as_long_as_told_and_nothing_is_lost_or_sent_twice(outbox: Outbox) -> None:
    ids = fill(outbox, 1)
    gate = ScriptedGate(None, Wait(seconds=7.0), Wait(seconds=3.0))
    driver = Driver(outbox, gate)
    driver.begin()
    chunks = [next(driver.messages).chunk for _ in range(3)]
    assert driver.waited_s == [7.0, 3.0]
    assert gate.asked == [4096, 4096, 4096, 4096, 1808]
    assert b"".join(chunk.data for chunk in chunks) == outbox.load(ids[0]).payload
    assert [chunk.offset for chunk in chunks] == [0, 4096, 8192]
    assert next(driver.messages).WhichOneof("message") == "finish"


def test_while_a_chunk_waits_the_server_owes_nothing_and_no_scene_is_begun(outbox: Outbox) -> None:
    fill(outbox, 2)
    driver = Driver(outbox, ScriptedGate(Wait(seconds=100.0)))
    driver.begin()
    is_busy: list[bool] = []
    driver.stream._wait = lambda condition, seconds: is_busy.append(driver.stream.is_busy)
    assert next(driver.messages).WhichOneof("message") == "chunk"
    assert is_busy == [False]
    assert driver.stream.is_busy  # the chunk went, so the server is due


def test_what_only_has_to_be_finished_goes_past_a_chunk_that_waits(outbox: Outbox) -> None:
    fill(outbox, 1, size=4096)
    fill(outbox, 1, size=9000)
    driver = Driver(outbox, ScriptedGate(None, Wait(seconds=5.0)))
    small, large = (next(driver.messages).begin.scene_id for _ in range(2))
    for scene_id in (small, large):
        driver.answer(scene_id, send_from=pb.SendFrom(offset=0))
    assert next(driver.messages).chunk.scene_id == small
    assert next(driver.messages).finish.scene_id == small
    assert driver.waited_s == []
    assert next(driver.messages).chunk.scene_id == large


def test_a_spent_budget_ends_the_stream_with_its_reason_and_the_scene_waits(outbox: Outbox) -> None:
    fill(outbox, 2)
    spent = Wait(seconds=30.0, closed="the day's budget is spent")
    driver = Driver(outbox, ScriptedGate(None, *[spent] * 10))
    driver.begin()
    assert next(driver.messages).WhichOneof("message") == "chunk"
    assert list(driver.messages) == []  # half-closed
    assert driver.waited_s == []
    assert (driver.stream.pause_s, str(driver.stream.pause_reason)) == (30.0, "the day's budget is spent")
    assert outbox.counts().pending == 2
    assert driver.tally.chunks == 1


def test_a_stream_that_is_ended_while_it_waits_ends(outbox: Outbox) -> None:
    fill(outbox, 1)
    driver = Driver(outbox, ScriptedGate(*[Wait(seconds=30.0)] * 10))
    driver.begin()
    driver.stream._wait = lambda condition, seconds: driver.stream.end()
    assert list(driver.messages) == []


def test_the_first_word_after_the_welcome_is_the_report(outbox: Outbox) -> None:
    fill(outbox, 2)
    driver = Driver(outbox, ScriptedGate())
    assert convert.report_from_message(driver.first.report) == outbox.report()


def test_scenes_that_are_dropped_meanwhile_are_reported_while_others_are_sent(tmp_path: Path) -> None:
    with Outbox(tmp_path, OutboxConfig(max_bytes=30_000)) as outbox:
        fill(outbox, 3)
        driver = Driver(outbox, ScriptedGate())
        driver.begin()
        outbox.put(make_scene(3))
        assert next(driver.messages).WhichOneof("message") == "chunk"
        driver.now_s += 10.0
        report = convert.report_from_message(next(driver.messages).report)
        assert (report.evicted_scenes, report.evicted_bytes, report.pending_scenes) == (1, 10_000, 3)
        assert next(driver.messages).WhichOneof("message") == "chunk"


def test_the_last_word_says_what_was_delivered(outbox: Outbox) -> None:
    fill(outbox, 1)
    driver = Driver(outbox, ScriptedGate())
    scene_id = driver.begin()
    while next(driver.messages).WhichOneof("message") == "chunk":
        pass
    driver.answer(scene_id, stored=pb.Stored())
    driver.stream.drain()
    (last,) = driver.messages
    assert convert.report_from_message(last.report) == VehicleReport(delivered_scenes=1)


def test_several_scenes_are_in_flight_and_take_turns(outbox: Outbox) -> None:
    ids = fill(outbox, 6)
    driver = Driver(outbox, ScriptedGate())
    begun = [next(driver.messages).begin.scene_id for _ in range(4)]
    assert [each.hex() for each in begun] == ids[:4]
    for scene_id in begun:
        driver.answer(scene_id, send_from=pb.SendFrom(offset=0))
    assert [next(driver.messages).chunk.scene_id for _ in range(8)] == begun * 2


def test_a_scene_without_an_answer_holds_up_no_other_and_comes_last_in_the_next_stream(outbox: Outbox) -> None:
    ids = fill(outbox, 6)
    first = Driver(outbox, ScriptedGate())
    stuck = next(first.messages).begin.scene_id
    for _ in range(2):  # others are sent and stored meanwhile
        first.now_s += 100.0
        scene_id = first.begin()
        while (message := next(first.messages)).WhichOneof("message") in ("chunk", "begin"):
            if message.WhichOneof("message") == "begin":
                first.answer(message.begin.scene_id, send_from=pb.SendFrom(offset=0))
        first.answer(message.finish.scene_id, stored=pb.Stored())
        assert scene_id != stuck
    assert first.stream.set_aside(300.0) == []
    first.now_s += 150.0
    assert first.stream.set_aside(300.0) == [stuck.hex()]
    left = [each for each in ids if outbox.next_pending(set(ids) - {each}) is not None]
    assert left[0] == stuck.hex()
    assert len(left) == 4
    second = Driver(outbox, ScriptedGate(), first.tally)
    assert [next(second.messages).begin.scene_id.hex() for _ in range(4)] == [*left[1:], left[0]]
    second.answer(stuck, stored=pb.Stored(was_already_stored=True))
    assert first.tally.unanswered == set()


def ahead_driver(outbox: Outbox, gate: ScriptedGate | None = None, **terms: Any) -> Driver:
    """A server that takes data in begins, and a vehicle that has begun some scenes which were new to it."""
    tally = Tally()
    for number in range(4):
        tally.asked(f"{number:064x}")
    return Driver(outbox, gate or ScriptedGate(), tally, takes_data_in_begin=True, **terms)


def test_a_small_scene_goes_in_one_message(outbox: Outbox) -> None:
    ids = fill(outbox, 1, size=3000)
    driver = ahead_driver(outbox)
    begin = next(driver.messages).begin
    assert (begin.data, begin.HasField("crc32")) == (outbox.load(ids[0]).payload, False)
    assert driver.tally.payload_bytes == 3000
    driver.answer(begin.scene_id, stored=pb.Stored(stored_at_ns=1))
    assert outbox.counts().delivered == 1


def test_of_a_larger_scene_the_first_chunk_goes_ahead_and_the_last_one_finishes(outbox: Outbox) -> None:
    ids = fill(outbox, 1)
    driver = ahead_driver(outbox)
    begin = next(driver.messages).begin
    payload = outbox.load(ids[0]).payload
    assert (begin.data, begin.crc32) == (payload[:4096], zlib.crc32(payload[:4096]))
    driver.answer(begin.scene_id, send_from=pb.SendFrom(offset=4096))
    chunks = [next(driver.messages).chunk for _ in range(2)]
    assert begin.data + b"".join(chunk.data for chunk in chunks) == payload
    assert [chunk.is_last for chunk in chunks] == [False, True]
    assert driver.stream.is_busy
    driver.answer(begin.scene_id, stored=pb.Stored(stored_at_ns=1))
    assert (outbox.counts().delivered, driver.tally.payload_bytes) == (1, len(payload))


def test_the_server_may_hold_more_or_nothing_of_what_went_ahead(outbox: Outbox) -> None:
    fill(outbox, 2)
    driver = ahead_driver(outbox)
    more, nothing = (next(driver.messages).begin.scene_id for _ in range(2))
    driver.answer(more, send_from=pb.SendFrom(offset=8192))
    driver.answer(nothing, send_from=pb.SendFrom(offset=0))
    sent = [next(driver.messages).chunk for _ in range(4)]
    assert {chunk.offset for chunk in sent if chunk.scene_id == more} == {8192}
    assert [chunk.offset for chunk in sent if chunk.scene_id == nothing] == [0, 4096, 8192]


def test_where_everything_is_there_only_the_finish_is_left(outbox: Outbox) -> None:
    fill(outbox, 1)
    driver = ahead_driver(outbox)
    scene_id = next(driver.messages).begin.scene_id
    driver.answer(scene_id, send_from=pb.SendFrom(offset=10_000))
    assert next(driver.messages).finish.scene_id == scene_id


def test_a_server_that_does_not_say_so_gets_no_data_ahead(outbox: Outbox) -> None:
    fill(outbox, 1)
    assert next(Driver(outbox, ScriptedGate()).messages).begin.data == b""


def test_frames_that_are_replayed_are_asked_for(outbox: Outbox) -> None:
    """The spool does not know them any more, the server does."""
    fill(outbox, 10, size=3000)
    driver, sizes = Driver(outbox, ScriptedGate(), takes_data_in_begin=True), []
    for number in range(10):
        begin = next(driver.messages).begin
        sizes.append(len(begin.data))
        driver.answer(begin.scene_id, stored=pb.Stored(was_already_stored=number < 5))
    assert sizes == [0] * 9 + [3000]  # four more after the last that was known


def test_what_an_earlier_process_may_have_begun_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was killed while it sent scenes out of order: some had been set aside, so that others went before them."""
    monkeypatch.setattr("vehicle_client.begun_mark.STRIDE", 3)
    with Outbox(tmp_path / "spool") as outbox:
        ids = fill(outbox, 10, size=30)
        first = ahead_driver(outbox)
        first.tally.unanswered.update(ids[:4])
        begins = [next(first.messages).begin for _ in range(4)]
        assert [begin.scene_id.hex() for begin in begins] == ids[4:8]
        assert [len(begin.data) for begin in begins] == [30] * 4
    with Outbox(tmp_path / "spool") as outbox:
        second = ahead_driver(outbox)
        sizes = {}
        for _ in range(len(ids)):
            begin = next(second.messages).begin
            sizes[begin.scene_id.hex()] = len(begin.data)
            second.answer(begin.scene_id, stored=pb.Stored(stored_at_ns=1))
        # The fifth was begun first and the mark set three scenes beyond it, which all of the four came to lie before.
        assert [sizes[each] for each in ids] == [0] * 8 + [30] * 2


def test_a_scene_that_was_begun_before_is_asked_for(outbox: Outbox) -> None:
    """On another stream, or refused: the server may hold some of it."""
    ids = fill(outbox, 1)
    driver = ahead_driver(outbox)
    driver.tally.asked(ids[0])
    assert next(driver.messages).begin.data == b""


def test_what_may_not_go_now_is_asked_for_without_data(outbox: Outbox) -> None:
    fill(outbox, 1)
    gate = ScriptedGate(Wait(seconds=7.0))
    driver = ahead_driver(outbox, gate)
    assert next(driver.messages).begin.data == b""
    assert (gate.asked, driver.tally.payload_bytes) == ([4096], 0)


def test_without_credit_no_other_scene_is_begun_so_that_its_data_goes_ahead_later(outbox: Outbox) -> None:
    fill(outbox, 2)
    driver = ahead_driver(outbox, credit_bytes=1)  # one message may overdraw
    first = next(driver.messages).begin
    assert len(first.data) == 4096
    driver.answer(first.scene_id, send_from=pb.SendFrom(offset=4096))
    driver.stream.receive(pb.UploadResponse(credit=pb.Credit(bytes=4096)))
    assert next(driver.messages).WhichOneof("message") == "chunk"
    driver.stream.receive(pb.UploadResponse(credit=pb.Credit(bytes=8192)))
    messages = [next(driver.messages), next(driver.messages)]
    assert [len(each.begin.data) for each in messages if each.WhichOneof("message") == "begin"] == [4096]


def test_what_goes_at_once_suits_the_link_and_the_server(outbox: Outbox) -> None:
    ids = fill(outbox, 2)
    driver = ahead_driver(outbox, ScriptedGate(chunk_bytes=1000))
    begin = next(driver.messages).begin
    payload = outbox.load(ids[0]).payload
    assert begin.data == payload[:1000]
    driver.answer(begin.scene_id, send_from=pb.SendFrom(offset=1000))
    assert next(driver.messages).chunk.data == payload[1000:2000]


def test_no_other_scene_is_begun_while_much_is_in_memory(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(outbox, 2)
    monkeypatch.setattr("vehicle_client.upload_stream._OPEN_BYTES", 10_000)
    driver = ahead_driver(outbox)
    scene_id = next(driver.messages).begin.scene_id
    driver.answer(scene_id, send_from=pb.SendFrom(offset=4096))
    assert [next(driver.messages).WhichOneof("message") for _ in range(2)] == ["chunk", "chunk"]
    driver.answer(scene_id, stored=pb.Stored(stored_at_ns=1))
    assert next(driver.messages).WhichOneof("message") == "begin"
