"""Pages in a real Chromium without a window."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TIMEOUT_S = 100

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian's package chromium) to open pages")


@dataclass(frozen=True)
class Page:
    """What a browser made of a page: its document, and what its scripts said on the console."""

    document: str
    console: list[str]

    def count(self, pattern: str) -> int:
        return len(re.findall(pattern, self.document))


def open_page(url: str, profile: Path) -> Page:
    """Let Chromium open `url`, and give its scripts six seconds of virtual time."""
    assert CHROMIUM is not None
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--disable-background-networking", "--enable-logging=stderr", "--v=0", "--window-size=1280,900"]
    command = [CHROMIUM, *options, f"--user-data-dir={profile}", "--virtual-time-budget=6000", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    return Page(done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line])
