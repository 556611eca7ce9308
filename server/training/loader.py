"""Samples of the coming steps, prepared by background threads while the present step is computed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Generic, Self, TypeVar

from server.training.augment import Augmentation
from server.training.batches import BatchSampler, Sample
from server.training.labelled_data import EVERYWHERE, LabelledFrames, in_range
from server.training.samples import LabelledScan
from shared_models.errors import InvalidValueError, UpcycleError
from shared_models.records import check

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderConfig:
    """How samples are prepared.

    workers: threads; 0 prepares each batch when it is asked for. Threads, because reading and array arithmetic leave
        Python's lock alone for most of the time, and nothing has to be copied between processes.
    steps_ahead: batches prepared beforehand at most; bounds memory.
    """

    workers: int = 1
    steps_ahead: int = 2

    def __post_init__(self) -> None:
        check.count("LoaderConfig", "workers", self.workers, 256, 0)
        check.count("LoaderConfig", "steps_ahead", self.steps_ahead, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Generic[T]):
    """The prepared samples of one step, in the sampler's order."""

    step: int
    samples: tuple[T, ...]


class Loader(Generic[T]):
    """Gives the batches of `steps` in order; the same with any number of workers. Use it with `with`.

    waited_s: seconds that the consumer has waited for batches so far: the loader's share of the training time.
    """

    def __init__(
        self,
        prepare: Callable[[Sample], T],
        sampler: BatchSampler,
        steps: range,
        *,
        config: LoaderConfig | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """prepare: makes a sample; a function of it alone that several threads may call at once.

        Raises:
            InvalidValueError: as `BatchSampler.samples`, or steps that do not rise one by one.
        """
        if steps.step != 1:
            raise InvalidValueError(f"Loader.steps: expected steps that rise one by one, got {steps}")
        config = config or LoaderConfig()
        sampler.samples(max(steps.start, 0), rank, world_size)  # a wrong rank or batch size shows now
        self.waited_s = 0.0
        self._prepare, self._sampler, self._place = prepare, sampler, (rank, world_size)
        self._ahead = config.steps_ahead if config.workers else 0
        self._steps = steps
        self._pool = ThreadPoolExecutor(config.workers, "loader") if config.workers else None
        self._pending: deque[tuple[int, list[Future[T]]]] = deque()

    def __iter__(self) -> Iterator[Batch[T]]:
        """The batches, once; leaving the loop early closes the loader.

        Raises:
            UpcycleError: what `prepare` raises; the message names the sample's frame where `prepare` does so.
        """
        try:
            while self._steps or self._pending:
                yield self._next()
        finally:
            self.close()

    def close(self) -> None:
        """Stop the threads; what they are preparing is finished and dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pending.clear()
        self._steps = range(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next(self) -> Batch[T]:
        started_s = time.perf_counter()
        if self._pool is None:
            step = self._take_step()
            samples = tuple(self._prepare(sample) for sample in self._sampler.samples(step, *self._place))
        else:
            self._fill(self._pool)
            step, futures = self._pending.popleft()
            samples = tuple(future.result() for future in futures)
            self._fill(self._pool)
        self.waited_s += time.perf_counter() - started_s
        return Batch(step=step, samples=samples)

    def _fill(self, pool: ThreadPoolExecutor) -> None:
        while self._steps and len(self._pending) < self._ahead:
            step = self._take_step()
            samples = self._sampler.samples(step, *self._place)
            self._pending.append((step, [pool.submit(self._prepare, sample) for sample in samples]))

    def _take_step(self) -> int:
        step, self._steps = self._steps[0], self._steps[1:]
        return step


class PrepareLabelled:
    """Prepares a labelled sample: reads the scan and augments it with the sample's own generator.

    Boxes outside of `range_m` are dropped last: augmentation moves objects across the border of a detector's range.
    """

    def __init__(
        self, frames: LabelledFrames, augmentation: Augmentation, range_m: Sequence[float] = EVERYWHERE
    ) -> None:
        self.frames, self.augmentation, self.range_m = frames, augmentation, tuple(range_m)

    def __call__(self, sample: Sample) -> LabelledScan:
        frame_id = self.frames.frame_ids[sample.index]
        try:
            scan = self.augmentation.apply(self.frames.scan(frame_id), sample.rng())
            return replace(scan, truth=in_range(scan.truth, self.range_m))
        except UpcycleError as error:
            if frame_id not in str(error):
                error.args = (f"frame {frame_id}: {error}", *error.args[1:])
            raise
        except Exception as error:
            error.add_note(f"while preparing frame {frame_id}")
            raise
