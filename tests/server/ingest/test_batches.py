"""Work in batches: who goes together, and one item's trouble."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.ingest.batches import Batches
from shared_models.errors import StorageError, UpcycleError


class Worker:
    """Doubles numbers; waits in its first batch until told to go on. Negative ones are refused, 0 is a bug."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, items: list[int]) -> list[int | UpcycleError]:
        self.batches.append(items)
        assert self.go_on.wait(20)
        if 0 in items:
            raise ZeroDivisionError("a bug")
        return [2 * item if item > 0 else StorageError(f"{item} is refused") for item in items]


def run(worker: Worker, items: list[int], size: int, at_once: int) -> list[int | BaseException]:
    """Outcomes of `items`, all added before the first batch ends."""

    async def add_all() -> list[int | BaseException]:
        with ThreadPoolExecutor(4) as threads:
            batches: Batches[int, int] = Batches(worker, threads, size, at_once)
            tasks = [asyncio.create_task(batches.add(item)) for item in items]
            await asyncio.sleep(0)  # each has added its item
            worker.go_on.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(add_all())


def test_one_that_comes_alone_goes_at_once_and_the_others_together() -> None:
    worker = Worker()
    assert run(worker, [1, 2, 3, 4], size=8, at_once=1) == [2, 4, 6, 8]
    assert worker.batches == [[1], [2, 3, 4]]


def test_batches_have_a_largest_size() -> None:
    worker = Worker()
    assert run(worker, [1, 2, 3, 4, 5, 6], size=2, at_once=1) == [2, 4, 6, 8, 10, 12]
    assert worker.batches == [[1], [2, 3], [4, 5], [6]]


def test_several_batches_at_once() -> None:
    worker = Worker()
    assert run(worker, [1, 2, 3, 4], size=8, at_once=3) == [2, 4, 6, 8]
    assert sorted(worker.batches) == [[1], [2], [3], [4]]


def test_a_refused_item_harms_no_other_one() -> None:
    outcomes = run(Worker(), [1, -2, 3], size=8, at_once=1)
    assert outcomes[::2] == [2, 6]
    assert isinstance(outcomes[1], StorageError)


def test_a_bug_is_told_to_all_of_its_batch_and_the_next_one_goes_on() -> None:
    worker = Worker()
    outcomes = run(worker, [1, 0, 2, 3], size=2, at_once=1)
    assert worker.batches == [[1], [0, 2], [3]]
    assert [type(each) for each in outcomes] == [int, ZeroDivisionError, ZeroDivisionError, int]


def test_cancelled_only_after_the_work_has_ended() -> None:
    worker = Worker()

    async def cancel() -> bool:
        with ThreadPoolExecutor(1) as threads:
            batches: Batches[int, int] = Batches(worker, threads, 1, 1)
            task = asyncio.create_task(batches.add(1))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            was_done = task.done()
            worker.go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            return was_done

    assert asyncio.run(cancel()) is False
