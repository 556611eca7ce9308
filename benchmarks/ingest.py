"""Durable ingest beside a bare gRPC stream to nowhere, and beside plain write and fsync, of the same payloads.

    python -m benchmarks.ingest [--scenes 200] [--rounds 5] [--chunk-bytes 262144] [--folder DIR] [--json FILE]

The three take turns in one run. "durable": the vehicle's own uploader sends scenes from memory to a server in another
process, until each is acknowledged. "bare": raw bytes of the same payloads in pieces of a chunk to a gRPC server that
forgets them. "fsync": each payload into a new file, synced, in the folder where the server's data lie. Loopback, no
TLS. Payloads are SIMULATED noise.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import grpc
import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.faults.nowhere import METHOD, nowhere
from benchmarks.faults.process_use import use_of
from benchmarks.faults.serving import Serving, serving
from benchmarks.faults.vehicles import BACKBONE, CODEC, ScenePool
from protos.policy import Limits, VehicleIdentity
from protos.report import VehicleReport
from shared_models.errors import OperatorError, UpcycleError
from shared_models.records import EncodedScene, SceneManifest
from vehicle_client.link import SMALL_CHUNK_BYTES
from vehicle_client.scene_queue import NoLimit
from vehicle_client.uploader import Uploader

WANTED_RATIO = 0.6
WAYS = ("bare", "fsync", "durable")
_VEHICLE = "car-1"


class ChunkGate(NoLimit):
    """Everything may go at once, in pieces of so many bytes."""

    def __init__(self, chunk_bytes: int) -> None:
        self._chunk_bytes = chunk_bytes

    def chunk_bytes(self) -> int:
        return self._chunk_bytes


class MemoryQueue:
    """Scenes for an uploader, without a disk; notes when each was taken and when it was acknowledged."""

    def __init__(self, scenes: Sequence[EncodedScene]) -> None:
        self._waiting = {scene.manifest.scene_id: scene for scene in scenes}
        self._taken_s: dict[str, float] = {}
        self.latencies_s: list[float] = []
        self.dead: list[str] = []

    def next_pending(self, exclude: frozenset[str] = frozenset()) -> SceneManifest | None:
        """The first that is not excluded."""
        return next((scene.manifest for key, scene in self._waiting.items() if key not in exclude), None)

    def note_begun(self, scene_id: str) -> bool:
        """Each is new."""
        return True

    def load(self, scene_id: str) -> EncodedScene:
        """That scene."""
        self._taken_s[scene_id] = time.perf_counter()
        return self._waiting[scene_id]

    def mark_delivered(self, scene_id: str) -> bool:
        """The server has it."""
        self.latencies_s.append(time.perf_counter() - self._taken_s[scene_id])
        return self._waiting.pop(scene_id, None) is not None

    def mark_dead(self, scene_id: str, reason: str) -> bool:
        """The server will never take it."""
        self.dead.append(reason)
        return self._waiting.pop(scene_id, None) is not None

    def report(self) -> VehicleReport:
        """Nothing of interest."""
        return VehicleReport()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Nothing comes later."""
        return lambda: None


def make_scenes(pool: ScenePool, count: int) -> list[EncodedScene]:
    """`count` new scenes."""
    made = (pool.next(_VEHICLE) for _ in range(count))
    return [EncodedScene(manifest=manifest, payload=payload) for manifest, payload, _ in made]


def send_durably(target: str, scenes: Sequence[EncodedScene], chunk_bytes: int) -> tuple[float, list[float]]:
    """Seconds until all are acknowledged, connecting included, and of each from its begin to its acknowledgement.

    Raises:
        OperatorError: one was refused.
    """
    queue, identity = MemoryQueue(scenes), VehicleIdentity(vehicle_id=_VEHICLE, backbone_hash=BACKBONE, codecs=(CODEC,))
    started_s = time.perf_counter()
    Uploader(target, identity, gate=ChunkGate(chunk_bytes)).run(queue)
    seconds = time.perf_counter() - started_s
    if queue.dead:
        raise OperatorError(f"{len(queue.dead)} scenes were refused, the first because: {queue.dead[0]}")
    return seconds, queue.latencies_s


def send_to_nowhere(port: int, scenes: Sequence[EncodedScene], chunk_bytes: int) -> float:
    """Seconds until everything has arrived, connecting included."""

    def pieces() -> Iterator[bytes]:
        for scene in scenes:
            for start in range(0, len(scene.payload), chunk_bytes):
                yield scene.payload[start : start + chunk_bytes]

    started_s = time.perf_counter()
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        received = int.from_bytes(channel.stream_unary(METHOD, None, None)(pieces()), "big")
    if received != sum(len(scene.payload) for scene in scenes):
        raise OperatorError(f"{received} bytes arrived at nowhere: fewer than were sent")
    return time.perf_counter() - started_s


def write_and_sync(folder: Path, scenes: Sequence[EncodedScene]) -> float:
    """Seconds to write each payload into a new file and sync that."""
    started_s = time.perf_counter()
    for scene in scenes:
        descriptor = os.open(folder / scene.manifest.scene_id, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            os.write(descriptor, scene.payload)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    seconds = time.perf_counter() - started_s
    for scene in scenes:
        (folder / scene.manifest.scene_id).unlink()
    return seconds


def measure(
    folder: Path, server: Serving, port: int, pool: ScenePool, scenes: int, rounds: int, chunk_bytes: int
) -> dict[str, Any]:
    """The three in turn; the first round warms up and does not count."""
    (folder / "plain").mkdir()
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    latencies, before = [], use_of(server.pid)
    for number in range(rounds + 1):
        batch = make_scenes(pool, scenes)
        taken_s = send_to_nowhere(port, batch, chunk_bytes), write_and_sync(folder / "plain", batch)
        durable_s, found_s = send_durably(server.target, batch, chunk_bytes)
        if number == 0:
            continue
        latencies += found_s
        for way, value in zip(WAYS, (*taken_s, durable_s), strict=True):
            seconds[way].append(value)
    megabytes = scenes * pool.scene_bytes / 1e6
    rates = {way: [megabytes / value for value in found] for way, found in seconds.items()}
    ratios = [durable / min(bare, plain) for bare, plain, durable in zip(*rates.values(), strict=True)]
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    return {
        "cores": len(os.sched_getaffinity(0)), "scenes": scenes, "scene_bytes": pool.scene_bytes, "rounds": rounds,
        "chunk_bytes": chunk_bytes,
        "mb_per_s": {way: spread(found) for way, found in rates.items()}, "ratio_to_slower": spread(ratios),
        "scenes_per_s": scenes / statistics.median(seconds["durable"]), "ack_p50_ms": p50, "ack_p99_ms": p99,
        "server_cpu_s": use_of(server.pid).cpu_s - before.cpu_s,
    }  # fmt: skip


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def table_of(report: dict[str, Any]) -> Table:
    """The report for people."""
    size = f"{report['scenes']} scenes of {report['scene_bytes']} bytes"
    table = Table(title=f"{report['rounds']} rounds of {size}, {report['cores']} cores")
    for heading in ("", "MB/s", "min-max"):
        table.add_column(heading, justify="right")
    for way, found in report["mb_per_s"].items():
        table.add_row(way, f"{found['median']:.1f}", f"{found['min']:.1f}-{found['max']:.1f}")
    return table


def main(
    scenes: Annotated[int, typer.Option(help="Scenes of a round.", min=1)] = 200,
    rounds: Annotated[int, typer.Option(help="Rounds that count.", min=1)] = 5,
    scene_bytes: Annotated[int, typer.Option(help="Payload of a scene.", min=1000)] = 200_000,
    chunk_bytes: Annotated[
        int, typer.Option(help="In one message, as vehicles have it on cellular; 1048576 on wifi.", min=1, max=1 << 20)
    ] = SMALL_CHUNK_BYTES,
    folder: Annotated[Path | None, typer.Option(help="On the disk that is meant.", exists=True)] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file.")] = None,
) -> None:
    """Measure how fast scenes are taken in durably."""
    torch.set_num_threads(1)
    console = Console()
    try:
        pool = ScenePool(scene_bytes, scenes * (rounds + 1), 0)  # no payload twice
        with tempfile.TemporaryDirectory(dir=folder) as chosen, nowhere() as port:
            data = Path(chosen)
            with serving(data / "server", BACKBONE, Limits().max_chunk_bytes) as server:
                report = measure(data, server, port, pool, scenes, rounds, chunk_bytes)
    except UpcycleError as error:
        console.print(f"[red]{error}")
        raise typer.Exit(1) from error
    console.print(table_of(report))
    ratio = report["ratio_to_slower"]
    console.print(
        f"durable is {ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f}) of the slower of the two "
        f"({WANTED_RATIO:g} wanted): {report['scenes_per_s']:.0f} scenes/s, acknowledged after "
        f"{report['ack_p50_ms']:.0f} ms (median), {report['ack_p99_ms']:.0f} ms (99 of 100), "
        f"up to {Limits().max_scenes_in_flight} under way"
    )
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
