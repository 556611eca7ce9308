from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.repositories.archive import SceneArchive, open_archive


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def archive(data: Path) -> Iterator[SceneArchive]:
    opened = open_archive(data, is_new_allowed=True)
    yield opened
    opened.close()
