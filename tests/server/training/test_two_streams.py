from __future__ import annotations

from types import SimpleNamespace

import pytest

from server.training.loop_config import LoopConfig
from server.training.processes import Processes
from server.training.two_streams import TwoStreams
from shared_models.errors import InvalidValueError


def streams(labelled: int = 6, unlabelled: int = 10, rank: int = 0, count: int = 1, **changes) -> TwoStreams:
    loop = LoopConfig(batch_size=2, workers=0)
    setup = SimpleNamespace(run=SimpleNamespace(loop=loop, seed=3), processes=Processes(rank=rank, count=count))
    take = (lambda sample: ("l", sample.index), labelled), (lambda sample: ("u", sample.index), unlabelled)
    return TwoStreams(setup, *take, **changes)  # type: ignore[arg-type]


def taken(made: TwoStreams, steps: range) -> list[tuple[list[int], list[int]]]:
    with made.batches(steps) as batches:
        found = list(batches)
    assert [each.step for each in found] == list(steps)
    for each in found:
        assert {kind for kind, _ in each.samples[0]} == {"l"}
        assert {kind for kind, _ in each.samples[1]} == {"u"}
    return [([n for _, n in each.samples[0]], [n for _, n in each.samples[1]]) for each in found]


def test_each_kind_comes_once_before_it_comes_again() -> None:
    made = streams(ratio=2)
    assert made.steps_per_epoch == 3
    found = taken(made, range(5))
    assert sorted(n for labelled, _ in found[:3] for n in labelled) == list(range(6))
    assert all(len(unlabelled) == 4 for _, unlabelled in found)
    assert sorted(n for _, unlabelled in found for n in unlabelled) == sorted([*range(10)] * 2)
    assert made.waited_s > 0


def test_the_orders_do_not_go_in_step() -> None:
    found = taken(streams(8, 8), range(4))
    assert [labelled for labelled, _ in found] != [unlabelled for _, unlabelled in found]


def test_repetition_is_of_the_labelled_frames_only() -> None:
    made = streams(repeat=5)
    assert made.steps_per_epoch == 15
    found = taken(made, range(5))
    assert sorted(n for _, unlabelled in found for n in unlabelled) == list(range(10))


def test_processes_share_a_step_and_know_what_all_of_them_see() -> None:
    whole = taken(streams(ratio=2), range(3))
    shares = [taken(streams(ratio=2, rank=rank, count=2), range(3)) for rank in range(2)]
    for step in range(3):
        assert shares[0][step][0] + shares[1][step][0] == whole[step][0]
        assert shares[0][step][1] + shares[1][step][1] == whole[step][1]
        assert list(streams(ratio=2, rank=1, count=2).unlabelled_of(step)) == whole[step][1]


def test_a_later_step_is_the_same_wherever_one_begins() -> None:
    assert taken(streams(), range(7, 9)) == taken(streams(), range(9))[7:]


@pytest.mark.parametrize(("labelled", "unlabelled"), [(0, 4), (4, 0)])
def test_both_kinds_are_needed(labelled: int, unlabelled: int) -> None:
    message = f"expected labelled and unlabelled frames, got {labelled} and {unlabelled}"
    with pytest.raises(InvalidValueError, match=message):
        streams(labelled, unlabelled)
