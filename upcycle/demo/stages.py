"""Stages that are timed, shown, and not made again where a kept folder has their result."""

from __future__ import annotations

import hashlib
import json
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from server.training.atomic_files import write_whole

Say = Callable[[str], None]
QUIET_S = 15.0  # between lines where the output is no terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTime:
    """What a stage took: seconds on the clock, and of processor time of all its processes and threads.

    is_former: an earlier call with the same folder made it; the seconds are those of that call.
    """

    name: str
    title: str
    wall_s: float
    cpu_s: float
    is_former: bool = False


class Stages:
    """The stages of one demonstration, in one folder."""

    def __init__(self, folder: Path, console: Console) -> None:
        self.folder = folder
        self.times: list[StageTime] = []
        self._console = console

    def run(
        self, name: str, title: str, inputs: Mapping[str, Any], make: Callable[[Say], dict[str, Any]]
    ) -> dict[str, Any]:
        """What `make` gives, from an earlier call where that had the same `inputs`.

        inputs: everything that the result follows from, ready for JSON. make: is given a function that shows a line.
        """
        text = json.dumps([name, inputs], sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()
        path = self.folder / "stages" / f"{name}.json"
        former = _former(path, key)
        if former is not None:
            self.times.append(StageTime(**{**former["time"], "is_former": True}))
            self._console.print(f"{title}: made before")
            return dict(former["result"])
        wall_s, cpu_s = time.perf_counter(), processor_s()
        with self._console.status(f"{title} ...") as status:
            result = make(_line(self._console, status.update, title))
        took = StageTime(name=name, title=title, wall_s=time.perf_counter() - wall_s, cpu_s=processor_s() - cpu_s)
        self.times.append(took)
        kept = {"key": key, "time": asdict(took), "result": result}
        write_whole(path, (json.dumps(kept, indent=1) + "\n").encode())
        self._console.print(f"{title}: {took.wall_s:.0f} s, {took.cpu_s:.0f} s of processor time", highlight=False)
        return result


def processor_s() -> float:
    """Seconds of processor time of this process, its threads, and the processes that it has waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _former(path: Path, key: str) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("key") == key else None


def _line(console: Console, update: Callable[[str], None], title: str) -> Say:
    """On a terminal a line that changes; elsewhere a new one now and then."""
    shown_at = -1e9

    def say(what: str) -> None:
        nonlocal shown_at
        if console.is_terminal:
            update(f"{title}: {what}")
        elif time.monotonic() - shown_at > QUIET_S:
            shown_at = time.monotonic()
            console.print(f"{title}: {what}", highlight=False, markup=False, soft_wrap=True)

    return say
