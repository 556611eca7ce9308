"""A dashboard on a small data folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.dashboard.address import Address
from server.dashboard.api import Sources
from server.dashboard.app import make_app
from server.dashboard.detection import SceneDetector
from server.dashboard.scene_view import SceneViewer
from server.repositories.archive import SceneArchive, open_archive, open_run_log
from server.repositories.run_log import RunLog
from shared_models import detectors
from shared_models.detector import Detector
from tests.dashboard_data import NOW_NS, Client, make_data


@pytest.fixture(scope="session")
def detector() -> Detector:
    """A detector with seeded weights."""
    built: Detector = detectors.build("second_iou", "tiny", seed=0).eval()
    return built


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, detector: Detector) -> Path:
    """The data folder; tests only read it."""
    folder = tmp_path_factory.mktemp("dashboard") / "data"
    make_data(folder, detector.backbone_hash)
    return folder


@pytest.fixture
def make_client(detector: Detector) -> Iterator[Callable[[Path], Client]]:
    """`make_client(folder)` gives a client of a dashboard on that folder."""
    opened: list[SceneArchive | RunLog] = []

    def make(folder: Path) -> Client:
        archive, log = open_archive(folder), open_run_log(folder)
        opened.extend([archive, log])
        viewer = SceneViewer(archive, [SceneDetector(detector, "seeded weights")])
        sources = Sources(catalogue=archive.catalogue, viewer=viewer, run_log=log, data=folder, now_ns=lambda: NOW_NS)
        return Client(make_app(sources, Address()))

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def client(make_client: Callable[[Path], Client], data: Path) -> Client:
    """A client of a dashboard on the small data folder."""
    return make_client(data)
