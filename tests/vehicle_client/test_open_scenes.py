from __future__ import annotations

import pytest

from shared_models.errors import ProtocolError
from tests.vehicle_client.outbox_model import scene
from vehicle_client.open_scenes import OpenScenes

FIRST, SECOND = scene(1, 100), scene(2, 50)
IDS = [each.manifest.scene_id for each in (FIRST, SECOND)]


@pytest.fixture
def both() -> OpenScenes:
    scenes = OpenScenes()
    scenes.begin(FIRST, 10.0)
    scenes.begin(SECOND, 20.0)
    return scenes


def test_nothing_is_sent_before_the_server_has_answered(both: OpenScenes):
    assert (len(both), both.ids(), both.ready(), both.is_owed()) == (2, frozenset(IDS), [], True)
    both.get(IDS[1]).start(0, 20)
    assert [scene_id for scene_id, _ in both.ready()] == IDS[1:]
    both.get(IDS[0]).start(0, 20)
    assert not both.is_owed()


def test_scenes_take_turns(both: OpenScenes):
    for scene_id in IDS:
        both.get(scene_id).start(0, 20)
    sent = []
    while chunks := [(i, each.next_chunk()) for i, each in both.ready()[:1]]:
        scene_id, chunk = chunks[0]
        if chunk is None:
            both.close(scene_id)
            continue
        sent.append((IDS.index(scene_id), len(chunk.data)))
        both.took_turn(scene_id)
    assert sent == [(0, 20), (1, 20), (0, 20), (1, 20), (0, 20), (1, 10), (0, 20), (0, 20)]


def test_it_goes_on_where_the_server_says(both: OpenScenes):
    both.get(IDS[0]).start(90, 20)
    chunk = both.get(IDS[0]).next_chunk()
    assert (chunk.offset, chunk.data) == (90, FIRST.payload[90:])
    assert both.get(IDS[0]).next_chunk() is None
    both.get(IDS[1]).start(51, 20)
    with pytest.raises(ProtocolError, match="offset 51 asked for"):
        both.get(IDS[1]).next_chunk()


def test_what_is_held_comes_first(both: OpenScenes):
    sending = both.get(IDS[0])
    sending.start(0, 60)
    sending.held = sending.next_chunk()
    assert [sending.next_chunk().offset for _ in range(2)] == [0, 60]


def test_whose_answer_is_late(both: OpenScenes):
    assert both.unanswered(10.0) == []
    assert both.unanswered(10.1) == IDS[:1]
    assert both.unanswered(30.0) == IDS
    both.get(IDS[0]).start(0, 20)  # answered: now it is this side's turn, however long that takes
    assert both.unanswered(1e9) == IDS[1:]
    both.get(IDS[0]).asked_s = 40.0  # finished: the server owes again
    assert both.unanswered(41.0) == IDS
