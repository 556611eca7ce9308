from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.training.batches import BatchSampler, epoch_order
from shared_models.errors import InvalidValueError


def test_an_epoch_has_every_frame_once():
    assert sorted(epoch_order(50, 3, 0).tolist()) == list(range(50))
    assert epoch_order(50, 3, 0).tolist() != epoch_order(50, 3, 1).tolist() != epoch_order(50, 4, 1).tolist()
    with pytest.raises(ValueError, match="read-only"):
        epoch_order(50, 3, 0)[0] = 1


@given(
    count=st.integers(1, 30),
    share=st.integers(1, 7),
    world_size=st.integers(1, 4),
    repeat=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_many_processes_see_what_one_sees(count, share, world_size, repeat, seed):
    sampler = BatchSampler(count=count, batch_size=share * world_size, seed=seed, repeat=repeat)
    steps = sampler.steps(epochs=2)
    alone = [sample for step in range(steps) for sample in sampler.samples(step)]
    together = [
        sample
        for step in range(steps)
        for rank in range(world_size)
        for sample in sampler.samples(step, rank, world_size)
    ]
    assert together == alone
    for epoch in range(2):
        items = [sample.item for sample in alone if sample.epoch == epoch]
        assert sorted(items) == list(range(count * repeat))
        assert np.bincount([s.index for s in alone if s.epoch == epoch]).tolist() == [repeat] * count
    assert all(sample.index == sample.item % count for sample in alone)


def test_steps_of_an_epoch():
    assert BatchSampler(count=10, batch_size=4).steps(1) == 3
    assert BatchSampler(count=10, batch_size=4).steps(2) == 5
    assert BatchSampler(count=10, batch_size=4, repeat=5).epoch_length == 50


def test_every_sample_has_its_own_random_numbers():
    sampler = BatchSampler(count=5, batch_size=5, repeat=2)
    samples = [sample for step in range(8) for sample in sampler.samples(step)]
    assert len({sample.rng().random() for sample in samples}) == 40
    assert samples[7].rng().random() == sampler.samples(1)[2].rng().random()  # asked for again: the same


def test_orders_do_not_use_the_numbers_of_samples():
    sample = next(s for s in BatchSampler(count=5, batch_size=5).samples(0) if s.item == 0)
    assert sample.rng().permutation(100).tolist() != epoch_order(100, 0, 0).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((-1,), "step >= 0"), ((0, 2, 2), "rank"), ((0, -1, 2), "rank"), ((0, 0, 3), "does not divide among 3")],
)
def test_wrong_places_are_refused(arguments, message):
    with pytest.raises(InvalidValueError, match=message):
        BatchSampler(count=5, batch_size=4).samples(*arguments)


def test_no_frames_are_refused():
    with pytest.raises(InvalidValueError, match="count"):
        BatchSampler(count=0, batch_size=4)
