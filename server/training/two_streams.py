"""Labelled and unlabelled samples side by side, each in an order of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from server.training.batches import BatchSampler, Sample
from server.training.loader import Loader, LoaderConfig
from server.training.recipe import Prepared, RecipeSetup
from shared_models.errors import InvalidValueError


class TwoStreams:
    """Gives for each step the labelled samples and the unlabelled ones, as a pair of tuples."""

    def __init__(
        self,
        setup: RecipeSetup,
        labelled: tuple[Callable[[Sample], Any], int],
        unlabelled: tuple[Callable[[Sample], Any], int],
        repeat: int = 1,
        ratio: int = 1,
    ) -> None:
        """labelled, unlabelled: how a sample is prepared, and how many frames there are.

        repeat: how often each labelled frame comes in one epoch. ratio: unlabelled samples for each labelled one.

        Raises:
            InvalidValueError: there are no frames of one kind.
        """
        run = setup.run
        size = run.loop.batch_size
        if min(labelled[1], unlabelled[1]) < 1:
            raise InvalidValueError(f"expected labelled and unlabelled frames, got {labelled[1]} and {unlabelled[1]}")
        self._setup, self._prepare = setup, (labelled[0], unlabelled[0])
        # Another seed for the second, so that the two orders do not go in step.
        self._samplers = (
            BatchSampler(count=labelled[1], batch_size=size, seed=run.seed, repeat=repeat),
            BatchSampler(count=unlabelled[1], batch_size=size * ratio, seed=(run.seed + 1_000_003) % 2**32),
        )
        self._loaders: tuple[Loader[Any], ...] = ()

    @property
    def steps_per_epoch(self) -> int:
        """Steps until every labelled sample has come once."""
        return self._samplers[0].steps(1)

    def unlabelled_of(self, step: int) -> tuple[int, ...]:
        """Numbers of the unlabelled frames that all processes together see in this step."""
        return tuple(sample.index for sample in self._samplers[1].samples(step))

    @property
    def waited_s(self) -> float:
        """Seconds that were waited for samples so far."""
        return sum(loader.waited_s for loader in self._loaders)

    @contextmanager
    def batches(self, steps: range) -> Iterator[Iterator[Prepared]]:
        """The samples of these steps, prepared ahead."""
        processes, loop = self._setup.processes, self._setup.run.loop
        config = LoaderConfig(workers=loop.workers, steps_ahead=loop.steps_ahead)
        self._loaders = tuple(
            Loader(prepare, sampler, steps, config=config, rank=processes.rank, world_size=processes.count)
            for prepare, sampler in zip(self._prepare, self._samplers, strict=True)
        )
        labelled, unlabelled = self._loaders
        with labelled, unlabelled:
            yield (
                Prepared(step=one.step, samples=(one.samples, two.samples))
                for one, two in zip(labelled, unlabelled, strict=True)
            )
