"""The small report as a value and as a folder."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.audit.page.page import html_page
from server.audit.page.source import AuditedReport, RestoredScene
from tests.server.audit.page.small_report import EVIL, GROUPS, REPORT, cloud, write_folder


@pytest.fixture
def report() -> dict[str, Any]:
    """A copy that a test may change."""
    return copy.deepcopy(REPORT)


def with_scans(report: dict[str, Any]) -> AuditedReport:
    """The report with three scenes for its decoder, in the first group."""
    title = report["attacks"][1]["title"]
    scenes = tuple(
        RestoredScene(group=GROUPS[0], word=word, scene_id=f"scene-{n}", truth=cloud(n, 60), found=cloud(9, 40))
        for n, word in enumerate(("most", "middle", "least"))
    )
    return AuditedReport(report=report, config={"name": EVIL, "seed": 77}, scenes={title: scenes})


@pytest.fixture
def audited(report: dict[str, Any]) -> AuditedReport:
    """`with_scans` of it."""
    return with_scans(report)


@pytest.fixture(scope="session")
def page() -> str:
    """Its page, drawn once."""
    return html_page(with_scans(copy.deepcopy(REPORT)))


@pytest.fixture
def audit_folder(tmp_path: Path) -> Callable[..., Path]:
    """`write_folder` below the test's own folder, by name."""
    return lambda name="audit", layer="conv_out": write_folder(tmp_path / name, layer)
