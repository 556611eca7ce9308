"""A process that has imported everything and forks actors on request: a restart after `kill -9` takes milliseconds.

It reads requests and writes events, a JSON object a line:

    {"actor": "server", "arguments": {...}}     ->  {"forked": 4711}
                                                    {"ended": 4711, "status": -9}    as subprocess gives it

It never makes anything of gRPC, a thread or a database connection itself, which would not survive a fork.
At the end of its input it kills what it has forked.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import sys
import traceback
from typing import Any

from benchmarks.faults.actors import ACTORS


def main() -> None:
    """Serve requests until the input ends."""
    read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the harness ends this process by closing its input
    gc.freeze()
    selector, alive = selectors.DefaultSelector(), set[int]()
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
    selector.register(read_end, selectors.EVENT_READ)
    buffer = b""
    _tell(ready=True)
    while True:
        for key, _ in selector.select():
            if key.fd == read_end:
                os.read(read_end, 4096)
                _bury(alive)
                continue
            data = os.read(key.fd, 1 << 16)
            if not data:
                _end(alive)
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                alive.add(_fork(json.loads(line)))


def _fork(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        _tell(forked=pid)
        return pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(2, 1)  # what an actor prints must not look like an event
        ACTORS[request["actor"]](request["arguments"])
        status = 0
    finally:
        if status:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(status)


def _bury(alive: set[int]) -> None:
    while alive:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        alive.discard(pid)
        _tell(ended=pid, status=os.waitstatus_to_exitcode(status))


def _end(alive: set[int]) -> None:
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    for pid in alive:
        os.waitpid(pid, 0)


def _tell(**event: object) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    main()
