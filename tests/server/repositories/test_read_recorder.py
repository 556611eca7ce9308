"""Readings by commands on this machine, where the log can be written and where not."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from server.repositories import read_recorder
from server.repositories.access_log import Action, local_actor
from server.repositories.archive import open_archive
from server.repositories.read_recorder import ReadRecorder, record_read
from shared_models.errors import StorageError
from tests.loopback import make_scene


@pytest.fixture
def data(tmp_path: Path) -> Path:
    archive = open_archive(tmp_path, is_new_allowed=True)
    archive.add(make_scene(), stored_at_ns=1)
    archive.close()
    return tmp_path


def test_readings_are_logged(data: Path) -> None:
    record_read(data, Action.READ, "ab" * 32)
    with ReadRecorder(data, role="dashboard") as recorder:
        recorder.record(Action.READ, "cd" * 32)
        recorder.record(Action.TRAIN, detail={"scenes": 3})
    archive = open_archive(data)
    found = [(entry.actor, entry.action, entry.subject) for entry in archive.catalogue.log.entries(after=1)]
    archive.close()
    assert found == [
        (local_actor(), "read", "ab" * 32),
        (local_actor("dashboard"), "read", "cd" * 32),
        (local_actor("dashboard"), "train", ""),
    ]


def test_what_cannot_be_logged_is_said_once(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened: list[Path] = []

    def refuse(directory: Path, is_new_allowed: bool) -> None:
        opened.append(directory)
        raise StorageError("read-only file system")

    monkeypatch.setattr(read_recorder, "open_archive", refuse)
    with caplog.at_level(logging.WARNING), ReadRecorder(data) as recorder:
        for _ in range(3):
            recorder.record(Action.READ)
    assert opened == [data]
    assert caplog.text.count("read-only file system") == 1
