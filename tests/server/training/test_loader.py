from __future__ import annotations

import threading

import numpy as np
import pytest

from server.training.augmentation_chain import AugmentationConfig, compose
from server.training.batches import BatchSampler, Sample
from server.training.labelled_data import LabelledDataConfig, LabelledFrames
from server.training.loader import Loader, LoaderConfig, PrepareLabelled
from shared_models.datasets.kitti import KittiDataset
from shared_models.errors import DatasetError, InvalidValueError

AUGMENTATION = compose(AugmentationConfig(order=("flip", "rotation", "scaling")))
SAMPLER = BatchSampler(count=4, batch_size=2, seed=1)


@pytest.fixture
def frames(make_kitti):
    dataset = KittiDataset(make_kitti(training=4))
    return LabelledFrames(dataset, [f"training-{k:06d}" for k in range(4)], LabelledDataConfig())


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def batches(frames, workers: int, steps: range = range(6)):
    with Loader(PrepareLabelled(frames, AUGMENTATION), SAMPLER, steps, config=LoaderConfig(workers=workers)) as loader:
        return list(loader)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_same_with_any_number_of_workers(frames, workers):
    expected, got = batches(frames, 0), batches(frames, workers)
    assert [batch.step for batch in got] == list(range(6))
    for left, right in zip(expected, got, strict=True):
        assert [scan.frame_id for scan in left.samples] == [scan.frame_id for scan in right.samples]
        for a, b in zip(left.samples, right.samples, strict=True):
            np.testing.assert_array_equal(a.points, b.points)
            np.testing.assert_array_equal(a.truth.boxes, b.truth.boxes)
    assert not loader_threads()


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_at_any_step(frames, workers):
    whole, rest = batches(frames, 0), batches(frames, workers, range(3, 6))
    for left, right in zip(whole[3:], rest, strict=True):
        assert left.step == right.step
        for a, b in zip(left.samples, right.samples, strict=True):
            np.testing.assert_array_equal(a.points, b.points)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_damaged_frame_is_named(frames, make_kitti, workers):
    scan = next(make_kitti(training=4).glob("training/velodyne/000002.bin"))
    scan.write_bytes(b"123")
    with pytest.raises(DatasetError, match=r"frame training-000002: .*000002\.bin"):
        batches(frames, workers)
    assert not loader_threads()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_defect_is_named_too(frames, workers):
    class Broken:
        def apply(self, scan, rng):
            raise ZeroDivisionError("a defect")

    with (
        pytest.raises(ZeroDivisionError) as caught,
        Loader(PrepareLabelled(frames, Broken()), SAMPLER, range(2), config=LoaderConfig(workers=workers)) as loader,
    ):
        list(loader)
    assert any("while preparing frame training-" in note for note in caught.value.__notes__)


def test_leaving_early_leaves_no_thread_and_takes_few_steps(frames):
    prepared: list[Sample] = []
    with Loader(prepared.append, SAMPLER, range(1000), config=LoaderConfig(workers=2, steps_ahead=3)) as loader:
        for batch in loader:
            if batch.step == 1:
                break
    assert not loader_threads()
    assert 4 <= len(prepared) <= 2 * (2 + 3)  # two batches given, three prepared beforehand
    assert loader.waited_s > 0


def test_work_is_bounded():
    """Workers stop `steps_ahead` batches before the consumer's next one, however long that takes."""
    gate, started = threading.Semaphore(0), []

    def prepare(sample: Sample) -> int:
        started.append(sample)
        gate.acquire()
        return sample.index

    with Loader(prepare, SAMPLER, range(50), config=LoaderConfig(workers=20, steps_ahead=2)) as loader:
        batch = iter(loader)
        for _ in range(100):
            gate.release()
        next(batch)
        assert len(started) <= 2 * 3


def test_two_processes_see_the_batch_of_one(frames):
    prepare = PrepareLabelled(frames, AUGMENTATION)
    both = [Loader(prepare, SAMPLER, range(4), rank=rank, world_size=2) for rank in range(2)]
    for whole, *parts in zip(batches(frames, 0, range(4)), *both, strict=True):
        together = [scan for part in parts for scan in part.samples]
        for a, b in zip(whole.samples, together, strict=True):
            np.testing.assert_array_equal(a.points, b.points)


def test_wrong_arguments_show_at_once(frames):
    prepare = PrepareLabelled(frames, AUGMENTATION)
    with pytest.raises(InvalidValueError, match="does not divide"):
        Loader(prepare, SAMPLER, range(4), world_size=3)
    with pytest.raises(InvalidValueError, match="one by one"):
        Loader(prepare, SAMPLER, range(0, 4, 2))
    assert not loader_threads()
