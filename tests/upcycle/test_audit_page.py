"""`upcycle audit page`: from an audit's folder to its page."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from shared_models.errors import ConfigError
from tests.server.audit.page.small_report import write_folder
from upcycle.audit import app


def invoke(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["page", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_page_is_written_beside_the_report_or_where_it_is_wanted(tmp_path: Path) -> None:
    folder, other = (write_folder(tmp_path / layer, layer) for layer in ("conv_out", "conv1"))
    assert "report.html" in invoke(folder, "--no-pictures")
    assert "contains no point of any scan" in (folder / "report.html").read_text(encoding="utf-8")
    invoke(folder, "--beside", other, "--out", tmp_path / "both.html")
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "layer 1 (conv1)" in page
    assert 'type="text/plain"' in page


def test_what_does_not_fit_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "audit")
    (tmp_path / "curve.json").write_text('{"schema": "another"}')
    with pytest.raises(ConfigError, match=r"curve\.json"):
        invoke(folder, "--curve", tmp_path / "curve.json", "--no-pictures")
    with pytest.raises(ConfigError, match=r"report\.json"):
        invoke(tmp_path)
    assert not list(tmp_path.rglob("*.html"))
