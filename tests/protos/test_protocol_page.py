"""docs/protocol.md says what the code does."""

from __future__ import annotations

import hashlib
import re
from dataclasses import fields
from pathlib import Path

import pytest

from protos.policy import Limits
from protos.status import STATUSES
from protos.v1 import common_pb2


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "protocol.md").read_text()


def test_status_table(page: str) -> None:
    for status in STATUSES.values():
        retry = "no"
        if status.may_retry:
            retry = f"after {status.retry_after_ms // 1000} s" if status.retry_after_ms else "yes"
        row = f"| `{common_pb2.Reason.Name(status.reason)}` | {status.grpc.name} | {status.http} | {retry} |"
        assert row in page, f"expected this row in docs/protocol.md: {row}"


def test_limits(page: str) -> None:
    for field in fields(Limits):
        default = getattr(Limits(), field.name)
        units = ((1 << 20, "MiB"), (1 << 10, "KiB"), (1, ""))
        shown = next(f"{default // size} {unit}" for size, unit in units if default >= size).strip()
        assert re.search(rf"`{field.name}` \| {shown}\b", page), f"{field.name}: {shown}"


def test_scene_id_example(page: str) -> None:
    text = "\n".join(["upcycle.scene.v1", "car", "frame", "5", "0" * 64])
    assert hashlib.sha256(text.encode()).hexdigest() in page
