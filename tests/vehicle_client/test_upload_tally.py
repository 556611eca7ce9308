from __future__ import annotations

from shared_models.errors import IntegrityError
from vehicle_client.upload_tally import KEPT_REFUSALS, Refusal, Tally


def refusal(number: int) -> Refusal:
    return Refusal(scene_id=f"{number}", frame_id=f"{number}", error=IntegrityError("damaged"))


def test_progress_is_what_brings_the_server_further():
    tally = Tally()
    tally.started("a", 0)
    assert tally.progress == 0
    tally.sent(500)
    assert tally.progress == 0  # sent is not received
    tally.started("a", 400)
    tally.started("a", 300)  # the server has lost some of it
    assert tally.progress == 1
    tally.arrived("a", was_already_stored=False)
    tally.given_up(refusal(1))
    assert tally.progress == 3
    report = tally.report()
    assert (report.stored, report.already_stored, report.refused, report.payload_bytes, report.chunks) == (
        1,
        0,
        1,
        500,
        1,
    )


def test_what_is_settled_is_forgotten():
    tally = Tally()
    for settle in (lambda: tally.arrived("1", True), lambda: tally.given_up(refusal(1))):
        tally.started("1", 5)
        tally.unanswered.add("1")
        assert [tally.tried("1") for _ in range(3)] == [1, 2, 3]
        settle()
        assert (tally.attempts, tally.offsets, tally.unanswered) == ({}, {}, set())


def test_of_many_refusals_the_latest_are_kept_and_all_counted():
    tally = Tally()
    for number in range(KEPT_REFUSALS + 5):
        tally.given_up(refusal(number))
    assert (tally.report().refused, len(tally.report().refusals)) == (KEPT_REFUSALS + 5, KEPT_REFUSALS)
    assert tally.report().refusals[0].scene_id == "5"
