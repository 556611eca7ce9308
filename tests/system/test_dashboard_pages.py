"""The dashboard as a process, its pages in a real Chromium without a window."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from server.repositories.archive import open_run_log
from shared_models import checkpoints, detectors
from tests.browser import needs_browser, open_page
from tests.dashboard_data import make_data

TIMEOUT_S = 100


@contextmanager
def serving(repository: Path, data: Path, checkpoint: Path) -> Iterator[str]:
    """A dashboard on a free port; its address."""
    command = [sys.executable, "-m", "upcycle", "dashboard", "--data", str(data), "--port", "0"]
    command += ["--checkpoint", str(checkpoint)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=repository, env=environment, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("dashboard on http://127.0.0.1:"), line
        try:
            yield line.split()[-1].removesuffix("/")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder; its first vehicle's backbone is that of the checkpoint beside it."""
    folder = tmp_path_factory.mktemp("dashboard")
    detector = detectors.build("second_iou", "tiny", seed=0).eval()
    checkpoints.save(detector, folder / "checkpoint", is_trained=False)
    make_data(folder / "data", detector.backbone_hash)
    return folder / "data"


@pytest.fixture(scope="module")
def address(repository: Path, data: Path) -> Iterator[str]:
    """The address of a dashboard on that folder."""
    with serving(repository, data, data.parent / "checkpoint") as found:
        yield found


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        return json.load(answer)


@needs_browser
def test_fleet(address: str, tmp_path: Path) -> None:
    page = open_page(f"{address}/", tmp_path)
    assert page.console == []
    assert page.count(r'href="\?vehicle=[0-9a-f]{8}"') == 2
    assert page.count(r'href="/scene\?id=[0-9a-f]{64}"') == 25
    assert "1–25 of 31" in page.document


@needs_browser
def test_fleet_of_one_vehicle(address: str, tmp_path: Path) -> None:
    tag = get(f"{address}/api/v1/fleet")["vehicles"][0]["vehicle"]
    page = open_page(f"{address}/?vehicle={tag}&offset=25", tmp_path)
    assert page.console == []
    assert page.count(r'href="/scene\?id=') == 5
    assert "26–30 of 30" in page.document


@needs_browser
def test_scene_with_detections(address: str, tmp_path: Path) -> None:
    scene_id = get(f"{address}/api/v1/scenes?offset=1&limit=1")["scenes"][0]["scene_id"]
    view = get(f"{address}/api/v1/scenes/{scene_id}")
    shown = [score for score in view["detections"]["scores"] if score >= 0.3]
    assert shown
    page = open_page(f"{address}/scene?id={scene_id}", tmp_path)
    assert page.console == []
    assert f'data-drawn-boxes="{len(shown)}"' in page.document
    assert f'data-drawn-cells="{len(view["cells"]["x"])}"' in page.document
    (pixels,) = re.findall(r'data-drawn-pixels="(\d+)"', page.document)
    assert int(pixels) > 10_000
    assert "seeded, untrained weights" in page.document


@needs_browser
def test_scene_of_another_backbone_says_why_there_are_no_boxes(address: str, tmp_path: Path) -> None:
    scene_id = get(f"{address}/api/v1/scenes?limit=1")["scenes"][0]["scene_id"]
    page = open_page(f"{address}/scene?id={scene_id}", tmp_path)
    assert page.console == []
    assert "the scene's backbone is abababababab" in page.document
    assert 'data-drawn-boxes="0"' in page.document
    assert page.count('data-drawn-pixels="[1-9]') == 1


@needs_browser
def test_scene_that_is_not_there(address: str, tmp_path: Path) -> None:
    page = open_page(f"{address}/scene?id=0123", tmp_path)
    assert re.search(r'role="alert">no scene 0123 is stored', page.document)
    assert page.count('class="columns" hidden=""') == 1
    assert all("404" in line for line in page.console)  # Chromium's own note of the answer


@needs_browser
def test_runs(address: str, tmp_path: Path) -> None:
    page = open_page(f"{address}/runs", tmp_path)
    assert page.console == []
    assert page.count(r'href="/run\?id=run-\d"') == 3
    assert page.count("stopped\\?</span>") == 2  # the two that never ended, whose processes are gone


@needs_browser
def test_run(address: str, tmp_path: Path) -> None:
    page = open_page(f"{address}/run?id=run-0", tmp_path)
    assert page.console == []
    curves = re.findall(r'<path d="(M[^"]+)" class="curve"', page.document)
    assert [len(re.findall("[ML]", path)) for path in curves] == [10, 10, 10, 2]  # loss/box, loss/total, lr; ap_all
    assert 'recipe = "supervised"' in page.document


@needs_browser
def test_run_follows_what_is_logged_while_it_is_open(address: str, data: Path, tmp_path: Path) -> None:
    has_ended = threading.Event()

    def train() -> None:
        log = open_run_log(data, is_new_allowed=True)
        for step in count(50):
            log.add_scalars("run-1", step, {"loss/total": 1.0}, at_ns=0)
            if has_ended.wait(0.005):
                break
        log.close()

    training = threading.Thread(target=train)
    training.start()
    try:
        page = open_page(f"{address}/run?id=run-1", tmp_path)
    finally:
        has_ended.set()
        training.join()
    assert page.console == []
    (updates,) = re.findall(r'id="scalars" class="charts" data-updates="(\d+)"', page.document)
    assert int(updates) >= 2


@needs_browser
def test_compare(address: str, tmp_path: Path) -> None:
    page = open_page(f"{address}/compare?id=run-0&id=run-2&curve=ap_all/car/3d/moderate", tmp_path)
    assert page.console == []
    assert page.count(r'<path d="M[^"]+" class="curve"') == 2
    assert page.count(r'<input type="checkbox" value="run-\d"') == 3
    assert page.count('checked=""') == 2
    assert page.count('<td class="number">20</td>') >= 2  # the last value of both


def test_process_refuses_other_hosts(address: str) -> None:
    request = urllib.request.Request(f"{address}/api/v1/runs", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="421"):
        urllib.request.urlopen(request, timeout=TIMEOUT_S)
