"""What a process uses of the machine, from /proc; Linux only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUse:
    """Resident memory now, CPU seconds since the start (all threads), open files and sockets, and threads."""

    memory_bytes: int
    cpu_s: float
    descriptors: int
    threads: int


def use_of(pid: int) -> ProcessUse:
    """What process `pid` uses.

    Raises:
        ProcessLookupError: there is no such process.
    """
    folder = Path(f"/proc/{pid}")
    try:
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        times = (folder / "stat").read_text().rpartition(")")[2].split()
        descriptors = len(os.listdir(folder / "fd"))
        return ProcessUse(
            memory_bytes=int(status["VmRSS"].split()[0]) * 1024,
            cpu_s=(int(times[11]) + int(times[12])) / _TICKS_PER_S,
            descriptors=descriptors,
            threads=int(status["Threads"]),
        )
    except (FileNotFoundError, KeyError) as error:
        raise ProcessLookupError(f"process {pid} has ended") from error
