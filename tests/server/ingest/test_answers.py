"""Answers that nobody reads: nothing is said behind them, and no more is taken in than can be answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protos import convert
from protos.policy import Limits, ServerTerms
from protos.v1 import ingest_pb2 as pb
from server.ingest.answers import Answers
from server.ingest.config import IngestConfig
from server.ingest.intake import Intake
from server.ingest.refusals import UnreadError
from server.ingest.session import UploadSession
from server.ingest.slow_streams import SlowStreamConfig
from server.repositories.archive import open_archive
from shared_models.errors import IntegrityError
from tests.loopback import accept_any_payload, make_identity, make_policy, make_scene

AT_ONCE = 3
TERMS = ServerTerms(
    protocol_version=1, policy=make_policy(limits=Limits(max_scenes_in_flight=AT_ONCE)), takes_data_in_begin=True
)


class DeafVehicle:
    """Reads `heard` answers and then no more."""

    def __init__(self, heard: int = 0) -> None:
        self.heard, self.written = heard, 0

    async def write(self, message: pb.UploadResponse) -> None:
        self.written += 1
        if self.written > self.heard:
            await asyncio.Event().wait()


def make_intake(data: Path, write_s: float) -> Intake:
    archive = open_archive(data, is_new_allowed=True)
    config = IngestConfig(slow_streams=SlowStreamConfig(write_s=write_s))
    return Intake(TERMS.policy, archive.store, archive.catalogue, config, accept_any_payload)


def unread(intake: Intake) -> float:
    return intake.metrics.registry.get_sample_value("upcycle_streams_ended_total", {"cause": "unread"}) or 0.0


def test_nothing_is_said_behind_an_answer_that_is_not_read(tmp_path: Path) -> None:
    async def run() -> None:
        intake, vehicle = make_intake(tmp_path, 0.01), DeafVehicle()
        answers = Answers(intake, TERMS, vehicle.write)
        said = [answers.refused("ab" * 32, IntegrityError("damaged"), None) for _ in range(5)]
        outcomes = await asyncio.gather(answers.welcome(), *said, return_exceptions=True)
        assert [type(each) for each in outcomes] == [UnreadError] * 6
        with pytest.raises(UnreadError):
            await answers.send_from("ab" * 32, 0)
        assert (vehicle.written, unread(intake)) == (1, 1.0)
        intake.close()

    asyncio.run(run())


def test_a_vehicle_that_reads_no_answers_is_not_read_for_long(tmp_path: Path) -> None:
    """Each message that is taken in is in memory until it is answered."""
    taken = 0

    async def begins() -> AsyncIterator[pb.UploadRequest]:
        nonlocal taken
        for taken in range(1, 1000):
            scene = make_scene(taken)
            yield pb.UploadRequest(begin=convert.begin_to_message(scene.manifest, data=scene.payload))

    async def run() -> None:
        intake, vehicle = make_intake(tmp_path, 0.5), DeafVehicle(heard=1)
        session = UploadSession(intake, make_identity(), TERMS, vehicle.write)
        with pytest.raises(UnreadError):
            await session.run(begins())
        assert AT_ONCE < taken <= 2 * AT_ONCE
        assert (vehicle.written, unread(intake)) == (2, 1.0)
        intake.close()

    asyncio.run(run())
