"""Payloads for tests of segments, and what lies in their folder."""

from __future__ import annotations

import hashlib
from pathlib import Path


def named(*payloads: bytes) -> list[tuple[str, bytes]]:
    """Payloads with their SHA-256."""
    return [(hashlib.sha256(payload).hexdigest(), payload) for payload in payloads]


ONE, TWO, THREE = named(b"number one", b"number two, longer", b"number three, the longest")


def files(folder: Path) -> list[Path]:
    """The segments."""
    return sorted(folder.glob("*.segment"))


def without_index(folder: Path) -> None:
    """Take the index away."""
    for path in folder.glob("index.sqlite*"):
        path.unlink()
