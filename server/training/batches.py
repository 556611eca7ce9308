"""Which samples make up the batch of a step: a function of seed and step alone.

So a run resumed at any step sees what it would have seen, any number of processes see together what one would see, and
augmentation does not depend on how many workers prepare samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shared_models.errors import InvalidValueError
from shared_models.records import check

_MAX = 2**32 - 1  # numbers above would take two words of a seed, and could then give another one's stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample of one batch.

    index: row of the frame in the list of frames, 0 to count - 1.
    item: place in the repeated list, 0 to count x repeat - 1; tells the repetitions of a frame apart.
    epoch: from 0.
    seed: of the run.
    """

    index: int
    item: int
    epoch: int
    seed: int

    def rng(self) -> np.random.Generator:
        """The generator of this sample's augmentation, the same in every process."""
        return np.random.default_rng([self.seed, self.epoch, self.item])


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSampler:
    """An endless row of batches over `count` frames: each epoch is a new order of all of them, none left out.

    Where an epoch does not fill its last batch, the next epoch's first samples do.

    count: frames.
    batch_size: samples of one step, of all processes together.
    seed: of the order and of augmentation.
    repeat: how often each frame comes in one epoch; 3DIoUMatch repeats its few labelled frames 10 and 5 times.
    """

    count: int
    batch_size: int
    seed: int = 0
    repeat: int = 1

    def __post_init__(self) -> None:
        check.count("BatchSampler", "count", self.count, 10**8)
        check.count("BatchSampler", "batch_size", self.batch_size, 65536)
        check.count("BatchSampler", "seed", self.seed, _MAX, 0)
        check.count("BatchSampler", "repeat", self.repeat, 10_000)
        check.count("BatchSampler", "count x repeat", self.count * self.repeat, _MAX)

    @property
    def epoch_length(self) -> int:
        """Samples of one epoch."""
        return self.count * self.repeat

    def steps(self, epochs: int) -> int:
        """Steps after which every sample of `epochs` epochs has come."""
        return -(-self.epoch_length * epochs // self.batch_size)

    def samples(self, step: int, rank: int = 0, world_size: int = 1) -> tuple[Sample, ...]:
        """The samples of step `step` (from 0) for process `rank` of `world_size`.

        Those of all processes, one after the other, are those that a single process gets.

        Raises:
            InvalidValueError: a negative step, a rank that is none, or a batch that does not divide.
        """
        if step < 0 or not 0 <= rank < world_size:
            raise InvalidValueError(
                f"BatchSampler.samples: expected step >= 0 and 0 <= rank < world_size, "
                f"got step {step}, rank {rank}, world_size {world_size}"
            )
        if self.batch_size % world_size:
            raise InvalidValueError(
                f"BatchSampler: a batch of {self.batch_size} does not divide among {world_size} processes; "
                f"choose a multiple of {world_size}"
            )
        share = self.batch_size // world_size
        first = step * self.batch_size + rank * share
        return tuple(self._sample(position) for position in range(first, first + share))

    def _sample(self, position: int) -> Sample:
        epoch, place = divmod(position, self.epoch_length)
        item = int(epoch_order(self.epoch_length, self.seed, epoch)[place])
        return Sample(index=item % self.count, item=item, epoch=epoch, seed=self.seed)


@lru_cache(maxsize=8)
def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """(count,) int64: the rows 0 to count - 1 in the order of this epoch; not to be written to."""
    # The last word sets it apart from the streams of samples: [seed, epoch, item] is the same seed as
    # [seed, epoch, item, 0].
    order: NDArray[np.int64] = np.random.default_rng([seed, epoch, 0, 1]).permutation(count)
    order.flags.writeable = False
    return order
