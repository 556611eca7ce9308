"""Which kind of link the vehicle has now: told by the operator, by a file, or by a command."""

from __future__ import annotations

import logging
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from shared_models.errors import ConfigError

logger = logging.getLogger(__name__)

LINKS = ("cellular", "wifi", "ethernet")
SMALL_CHUNK_BYTES = 256 << 10  # what a cut link loses at most has to be sent again
LARGE_CHUNK_BYTES = 1 << 20  # most servers' limit
NO_LINK = "none"  # said by a file or a command: nothing is sent
COMMAND_TIMEOUT_S = 10.0


class LinkSource:
    """The present link class. A file or command is asked again after `recheck_s`, the command beside the sender."""

    def __init__(
        self,
        given: str,
        fallback: str,
        recheck_s: float,
        clock_s: Callable[[], float] = time.monotonic,
        run: Callable[[str], str] | None = None,
        beside: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """`given` is a link class, `file:PATH` or `command:LINE`; the last three are replaced in tests only.

        Raises:
            ConfigError: `given` is none of these.
        """
        kind, _, rest = given.partition(":")
        if given not in LINKS and (kind not in ("file", "command") or not rest.strip()):
            raise ConfigError(f"link: expected {', '.join(LINKS)}, file:PATH or command:LINE, got {given!r}")
        self._given, self._fallback, self._recheck_s, self._clock_s = given, fallback, recheck_s, clock_s
        self._ask = _read_file if kind == "file" else run or _run_command
        self._beside = beside or _in_thread
        self._argument = rest if kind in ("file", "command") else None
        self._current, self._asked_s, self._is_asking = given, 0.0, False
        self._is_asked = self._argument is None
        self._complaint = ""

    def possible(self) -> tuple[str, ...]:
        """The link classes that may come."""
        return LINKS if self._argument is not None else (self._given,)

    def current(self) -> str:
        """The link class now, or `none`; does not wait for a command except the first time."""
        if self._argument is None or self._is_asking:
            return self._current
        if not self._is_asked:
            self._refresh()
        elif self._clock_s() - self._asked_s >= self._recheck_s:
            self._is_asking = True
            self._beside(self._refresh)
        return self._current

    def _refresh(self) -> None:
        try:
            answer = self._ask(self._argument or "").strip().lower()
            known = answer in (*LINKS, NO_LINK)
            complaint = "" if known else f"expected {', '.join(LINKS)} or {NO_LINK}, got {answer[:80]!r}"
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            answer, complaint = "", str(error)
        if complaint and complaint != self._complaint:
            logger.warning("link %s: %s; taken for %s", self._given, complaint, self._fallback)
        self._complaint = complaint
        self._current = self._fallback if complaint else answer
        self._asked_s, self._is_asked, self._is_asking = self._clock_s(), True, False


def _read_file(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _run_command(line: str) -> str:
    done = subprocess.run(
        shlex.split(line),
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout


def _in_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="link-command", daemon=True).start()
