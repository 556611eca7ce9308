"""Fixtures for the stores' tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.stores.segments import Segments


@pytest.fixture
def segments(tmp_path: Path) -> Iterator[Segments]:
    """New ones."""
    opened = Segments(tmp_path)
    yield opened
    opened.close()
