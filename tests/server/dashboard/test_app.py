"""Pages and their files: complete, of this origin only, and packaged."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from server.dashboard.app import PAGES, STATIC
from tests.dashboard_data import Client

FILES = sorted(STATIC.iterdir())


@pytest.mark.parametrize("path", sorted(PAGES))
def test_page_and_everything_it_loads(client: Client, path: str) -> None:
    page = client.get(path)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    loaded = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    assert any(each.endswith(".js") for each in loaded)
    while loaded:
        file = loaded.pop()
        answer = client.get(file)
        assert answer.status_code == 200, file
        if file.endswith(".js"):
            assert answer.headers["content-type"].startswith("text/javascript")
            loaded += [f"/static/{name}" for name in re.findall(r'from "\./([^"]+)"', answer.text)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_comes_from_elsewhere_or_breaks_the_policy(file: Path) -> None:
    text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text)
    assert not re.search(r"<script>|<style|\son\w+=|\sstyle=|innerHTML|\beval\b", text)


def test_static_files_are_packaged(repository: Path) -> None:
    settings = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert settings["server.dashboard"] == ["static/*"]
    assert all(file.is_file() for file in FILES)
