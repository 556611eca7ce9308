"""Fixtures that every test folder shares."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pytest
import torch

if TYPE_CHECKING:
    from tests.services import PostgresServer, S3Server

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("UPCYCLE_SHARED", REPOSITORY.parent / "shared"))

# PostgreSQL's programs are started as another user, so by fork; gRPC's handlers would start threads in that child.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# Several pytest workers share the cores, and results of float sums depend on the number of threads.
torch.set_num_threads(1)


class MakeKitti(Protocol):
    """Writes a small folder in KITTI's format and gives its root."""

    def __call__(self, training: int = 2, testing: int = 1, points: int = 3000, folder: str = "kitti") -> Path: ...


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return REPOSITORY


def _shared_folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs {folder}; set UPCYCLE_SHARED to the folder that holds {name.split('/')[0]}/")
    return folder


@pytest.fixture(scope="session")
def kitti_root() -> Path:
    """The folder with real KITTI frames (training/, testing/, ImageSets/)."""
    return _shared_folder("data/kitti")


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """`shared_data("pandaset_002")` gives the folder of a real sample, or skips the test."""
    return lambda name: _shared_folder(f"data/{name}")


@pytest.fixture(scope="session")
def golden_root() -> Path:
    """The folder with golden outputs of reference implementations."""
    return _shared_folder("golden")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server of this test session, where PostgreSQL is installed."""
    from tests.services import PostgresServer, postgres_programs

    programs = postgres_programs()
    if programs is None:
        pytest.skip("needs PostgreSQL's programs, in PATH or /usr/lib/postgresql: apt-get install postgresql")
    running = PostgresServer(programs)
    yield running
    running.remove()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A running S3 API of this test session, with credentials for it in the environment."""
    from tests.services import CREDENTIALS, S3Server

    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        running = S3Server()
        yield running
        running.remove()


@pytest.fixture
def make_kitti(tmp_path: Path) -> MakeKitti:
    """Writes a small folder in KITTI's format: `make_kitti(training=2, testing=1)` gives its root."""

    def make(training: int = 2, testing: int = 1, points: int = 3000, folder: str = "kitti") -> Path:
        root = tmp_path / folder
        generator = np.random.default_rng(0)
        for part, count in (("training", training), ("testing", testing)):
            for index in range(count):
                _write_frame(root / part, f"{index:06d}", _scan(generator, points), with_labels=part == "training")
        _write(root / "ImageSets/train.txt", "".join(f"{i:06d}\n" for i in range(0, training, 2)))
        _write(root / "ImageSets/val.txt", "".join(f"{i:06d}\n" for i in range(1, training, 2)))
        _write(root / "ImageSets/test.txt", "".join(f"{i:06d}\n" for i in range(testing)))
        return root

    return make


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _scan(generator: np.random.Generator, points: int) -> np.ndarray:
    """A flat ground with one car-sized cluster, all within a few metres of the road ahead."""
    ground = generator.uniform([1, -15, -1.75, 0], [34, 15, -1.65, 1], size=(points, 4))
    car = generator.uniform([10, -1, -1.6, 0], [14, 1, 0, 1], size=(points // 10, 4))
    return np.concatenate([ground, car]).astype("<f4")


def _write_frame(folder: Path, name: str, scan: np.ndarray, with_labels: bool) -> None:
    (folder / "velodyne").mkdir(parents=True, exist_ok=True)
    scan.tofile(folder / "velodyne" / f"{name}.bin")
    _write(folder / "calib" / f"{name}.txt", KITTI_CALIBRATION)
    if with_labels:
        _write(folder / "label_2" / f"{name}.txt", KITTI_LABELS)


# An ideal mounting: camera in the LiDAR's place, looking along its x axis.
KITTI_CALIBRATION = """\
P2: 700 0 620 0 0 700 187 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0
"""
KITTI_LABELS = """\
Car 0.00 0 -1.57 562.00 180.00 678.00 270.00 1.60 2.00 4.00 0.00 1.60 12.00 -1.57
DontCare -1 -1 -10 500.0 170.0 520.0 190.0 -1 -1 -1 -1000 -1000 -1000 -10
"""
