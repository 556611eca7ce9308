"""The demonstration's processes: one server and several vehicles on this machine, talking over loopback gRPC."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_models.errors import OperatorError, StorageError

STOP_TIMEOUT_S = 30.0
LOOK_EVERY_S = 0.5
# A drive that refused some frame or scene ends with 1 and a complete report: it is shown, not hidden.
FINISHED = (0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What to run.

    dataset, root: the frames. With a folder, vehicle i of n plays every n-th of them; without one, each vehicle
        drives in a simulated world of its own, whose streets follow from its name.
    worlds: instead of `dataset`, the simulated world of each vehicle.
    detector_options: `--detector`, `--checkpoint`, ... as the vehicles' command line takes them.
    backbone_hash: the one that the server accepts.
    codecs: each frame is sent once with each.
    guard: what the vehicles do to features before they send them.
    vehicle_count: number of vehicle processes. threads: CPU threads of each.
    folder: for the server's data, the vehicles' state, reports and logs.
    """

    folder: Path
    detector_options: tuple[str, ...]
    backbone_hash: str
    codecs: tuple[str, ...]
    dataset: str = "simulated"
    root: Path | None = None
    worlds: tuple[str, ...] = ()
    guard: str = "none"
    vehicle_count: int = 2
    threads: int = 1

    @property
    def server_data(self) -> Path:
        """The server's data folder."""
        return self.folder / "server"

    def dataset_of(self, number: int) -> str:
        """What a vehicle plays, as `--dataset` takes it."""
        return self.worlds[number] if self.worlds else self.dataset

    def run(self, progress: Callable[[int], None] | None = None) -> list[dict[str, Any]]:
        """Run server and vehicles until every vehicle has delivered everything; gives the vehicles' reports.

        progress: called now and then with the number of payloads that the server has stored.

        Raises:
            OperatorError: a process failed; the message ends with what it said.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._serving() as address:
            vehicles = [self._start_vehicle(number, address) for number in range(self.vehicle_count)]
            try:
                while progress is not None and any(process.poll() is None for process in vehicles):
                    progress(sum(1 for _ in self.server_data.glob("payloads/*/*")))
                    time.sleep(LOOK_EVERY_S)
                return [self._finish_vehicle(number, process) for number, process in enumerate(vehicles)]
            finally:
                for process in vehicles:
                    process.kill()
                    process.wait()

    @contextmanager
    def _serving(self) -> Iterator[str]:
        command = ["server", "serve", "--data", str(self.server_data), "--port", "0"]
        process = self._start([*command, "--backbone-hash", self.backbone_hash], "server", stdout=subprocess.PIPE)
        try:
            yield self._address(process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def _address(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        for line in process.stdout:  # ends when the server does
            if line.startswith("listening on "):
                return line.removeprefix("listening on ").strip()
        raise OperatorError(f"the server did not start: {self._log_tail('server')}")

    def _start_vehicle(self, number: int, address: str) -> subprocess.Popen[str]:
        name = f"vehicle-{number}"
        command = ["vehicle", "replay", "--dataset", self.dataset_of(number), "--server", address, "--vehicle-id", name]
        if self.root is not None:
            command += ["--root", str(self.root), "--shard", f"{number}/{self.vehicle_count}"]
        command += ["--threads", str(self.threads), "--guard", self.guard]
        command += ["--state", str(self.folder / name), "--report", str(self._report(number)), *self.detector_options]
        command += [part for codec in self.codecs for part in ("--codec", codec)]
        return self._start(command, name, stdout=subprocess.DEVNULL)

    def _finish_vehicle(self, number: int, process: subprocess.Popen[str]) -> dict[str, Any]:
        name = f"vehicle-{number}"
        if process.wait() not in FINISHED or not self._report(number).is_file():
            raise OperatorError(f"{name} failed with exit code {process.returncode}: {self._log_tail(name)}")
        report: dict[str, Any] = json.loads(self._report(number).read_text())
        return report

    def _report(self, number: int) -> Path:
        return self.folder / f"vehicle-{number}.json"

    def _start(self, arguments: Sequence[str], name: str, stdout: int) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
        try:
            with (self.folder / f"{name}.log").open("w") as log:
                return subprocess.Popen(
                    [sys.executable, "-m", "upcycle", *arguments], stdout=stdout, stderr=log, env=environment, text=True
                )
        except OSError as error:
            raise StorageError(f"{self.folder}: {error.strerror}; give another folder with --keep") from error

    def _log_tail(self, name: str) -> str:
        text = (self.folder / f"{name}.log").read_text(errors="replace").strip()
        return text[-600:] or "it said nothing"
