"""Many vehicles, each on a connection of its own, send a scene a second: how soon is each acknowledged?

    python -m benchmarks.fleet [--vehicles 200] [--seconds 60] [--search] [--reconnects 5000] [--json FILE]

All vehicles live in one process, the server in another; on loopback, without TLS. Latency runs from the moment at which
a scene was due, so a vehicle that comes late because the one before was not acknowledged yet is not excused. Payloads
are SIMULATED noise of `--scene-bytes` in turn, `--distinct` of them: a payload that comes again is written, synced and
put into its place again, but takes no more space. `--search` looks for the largest number of vehicles that is carried.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.faults.process_use import ProcessUse, use_of
from benchmarks.faults.serving import Serving, serving
from benchmarks.faults.vehicles import RawVehicle, ScenePool
from shared_models.errors import UpcycleError

WANTED_P99_S = 0.25
PERIOD_S = 1.0
SETTLE_S = 1.0  # after connections were closed, before memory is read
WARM_S = 3.0  # connecting, and everything's first time; not counted
_PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
_STEP_VEHICLES = 10  # the search stops at so fine a step
# Far above what is sent here: what one vehicle may do is not what is measured.
CONFIG: dict[str, Any] = {"partial_count": 20_000}


class Watch:
    """Samples of two processes, once a second."""

    def __init__(self, server_pid: int) -> None:
        self._pids = {"server": server_pid, "load": os.getpid()}
        self.samples: dict[str, list[tuple[float, ProcessUse]]] = {name: [] for name in self._pids}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for name, pid in self._pids.items():
                self.samples[name].append((time.monotonic(), use_of(pid)))
            await asyncio.sleep(1.0)

    def summary(self, name: str) -> dict[str, Any]:
        """Share of one core used, and resident memory: at the beginning, at the end, the most, and its slope."""
        samples = self.samples[name]
        times = np.array([at for at, _ in samples])
        memory = np.array([use.memory_bytes for _, use in samples], float)
        used_s = samples[-1][1].cpu_s - samples[0][1].cpu_s
        late = slice(len(samples) // 3, None)  # caches and pools have filled by then
        slope = float(np.polyfit(times[late], memory[late], 1)[0]) if len(samples[late]) > 2 else 0.0
        return {
            "cores": used_s / max(times[-1] - times[0], 1e-9),
            "memory_first_bytes": int(memory[0]), "memory_last_bytes": int(memory[-1]),
            "memory_peak_bytes": int(memory.max()), "memory_bytes_per_s": slope,
            "memory_mb_each_second": [round(value / 1e6, 1) for value in memory],
        }  # fmt: skip


async def drive(server: Serving, pool: ScenePool, vehicles: int, seconds: float, seed: int) -> dict[str, Any]:
    """`vehicles` for `seconds` after warming up; latencies and what both processes used."""
    rng, watch = random.Random(seed), Watch(server.pid)
    start_s = time.monotonic() + WARM_S
    fleet = [RawVehicle(server.target, pool, f"car-{number}") for number in range(vehicles)]
    tasks = [asyncio.create_task(_pace(each, start_s + rng.random() * PERIOD_S, start_s + seconds)) for each in fleet]
    await asyncio.sleep(max(start_s - time.monotonic(), 0))
    watching = asyncio.create_task(watch.run())
    results = await asyncio.gather(*tasks)
    watching.cancel()
    for each in fleet:
        await each.close()
    latencies = np.array([latency for found in results for latency in found[0]])
    failures = sum(found[1] for found in results)
    shares = list(_PERCENTILES.values())
    percentiles = np.percentile(latencies, shares) if len(latencies) else np.full(len(shares), np.inf)
    return {
        "vehicles": vehicles, "seconds": seconds, "scenes": len(latencies), "failures": failures,
        "scenes_per_s": len(latencies) / seconds, "mb_per_s": len(latencies) * pool.scene_bytes / seconds / 1e6,
        **{f"ack_{name}_ms": float(value) * 1e3 for name, value in zip(_PERCENTILES, percentiles, strict=True)},
        "server": watch.summary("server"), "load": watch.summary("load"),
    }  # fmt: skip


async def _pace(vehicle: RawVehicle, first_due_s: float, end_s: float) -> tuple[list[float], int]:
    """Send one scene a period; latencies in seconds from when each was due, and how many were not stored."""
    latencies: list[float] = []
    failures, due_s = 0, first_due_s
    async with vehicle.session() as session:
        await session.send_scene()  # the first one pays for the connection, and is not counted
        while due_s < end_s:
            await asyncio.sleep(max(due_s - time.monotonic(), 0))
            if await session.send_scene():
                latencies.append(time.monotonic() - due_s)
            else:
                failures += 1
            due_s += PERIOD_S
    return latencies, failures


async def search(server: Serving, pool: ScenePool, highest: int, seconds: float, seed: int) -> list[dict[str, Any]]:
    """Runs with different numbers of vehicles, up to `highest`, that close in on the largest one carried."""
    runs, low, high = [], 0, highest + _STEP_VEHICLES
    vehicles = highest
    while high - low > _STEP_VEHICLES:
        found = await drive(server, pool, vehicles, seconds, seed)
        runs.append(found)
        low, high = (vehicles, high) if is_carried(found) else (low, vehicles)
        vehicles = (low + high) // 2
        if low == highest:
            break
    return runs


def is_carried(found: dict[str, Any]) -> bool:
    """Whether the server kept up: every scene stored, and 99 of 100 acknowledged soon enough."""
    return bool(found["failures"] == 0 and found["ack_p99_ms"] < WANTED_P99_S * 1e3)


async def reconnect(server: Serving, pool: ScenePool, count: int) -> dict[str, Any]:
    """Open and close so many connections, each with a hello and a scene: what stays in the server's memory?"""
    used = []
    for part in range(4):  # the first quarter fills caches
        for number in range(count // 4):
            vehicle = RawVehicle(server.target, pool, f"visitor-{(part * count + number) % 500}")
            async with vehicle.session() as session:
                await session.send_scene()
            await vehicle.close()
        await asyncio.sleep(SETTLE_S)
        used.append(use_of(server.pid))
    closed = 3 * (count // 4)
    return {
        "connections": count, "memory_bytes": [each.memory_bytes for each in used],
        "descriptors": [each.descriptors for each in used], "threads": [each.threads for each in used],
        "bytes_per_connection": (used[-1].memory_bytes - used[0].memory_bytes) / max(closed, 1),
    }  # fmt: skip


async def measure(
    server: Serving, pool: ScenePool, vehicles: int, seconds: float, is_search: bool, reconnects: int, seed: int
) -> dict[str, Any]:
    """Everything, on one server."""
    if is_search:
        runs = await search(server, pool, vehicles, seconds, seed)
    else:
        runs = [await drive(server, pool, vehicles, seconds, seed)]
    carried = [found["vehicles"] for found in runs if is_carried(found)]
    return {
        "cores": len(os.sched_getaffinity(0)), "scene_bytes": pool.scene_bytes, "distinct": len(pool), "seed": seed,
        "runs": runs, "carried": max(carried, default=0),
        "reconnects": await reconnect(server, pool, reconnects) if reconnects else None,
    }  # fmt: skip


def table_of(report: dict[str, Any]) -> Table:
    """The report for people."""
    table = Table(title=f"a scene of {report['scene_bytes']} bytes a second, {report['cores']} cores")
    for heading in (
        "vehicles",
        "scenes/s",
        "MB/s",
        "ack p50 ms",
        "p99",
        "max",
        "failed",
        "server cores",
        "its MB, slope",
    ):
        table.add_column(heading, justify="right")
    for found in report["runs"]:
        server = found["server"]
        memory = f"{server['memory_last_bytes'] / 1e6:.0f}, {server['memory_bytes_per_s'] * 60 / 1e6:+.2f}/min"
        times = [f"{found[name]:.1f}" for name in ("ack_p50_ms", "ack_p99_ms", "ack_max_ms")]
        rates = f"{found['scenes_per_s']:.1f}", f"{found['mb_per_s']:.1f}"
        cores = f"{server['cores']:.2f}"
        table.add_row(str(found["vehicles"]), *rates, *times, str(found["failures"]), cores, memory)
    return table


def main(
    vehicles: Annotated[int, typer.Option(help="Vehicles; with --search the most that are tried.", min=1)] = 200,
    seconds: Annotated[float, typer.Option(help="How long each number is driven.", min=1)] = 60.0,
    scene_bytes: Annotated[int, typer.Option(help="Payload of a scene.", min=2000)] = 200_000,
    distinct: Annotated[int, typer.Option(help="Different payloads.", min=1)] = 512,
    is_search: Annotated[bool, typer.Option("--search", help="Look for the largest number that is carried.")] = False,
    reconnects: Annotated[int, typer.Option(help="Connections to open and close afterwards.", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Of the vehicles' phases.")] = 0,
    folder: Annotated[Path | None, typer.Option(help="Where the server's data lie meanwhile.", exists=True)] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file.")] = None,
) -> None:
    """Measure acknowledgements under a fleet's load."""
    torch.set_num_threads(1)
    console = Console()
    try:
        pool = ScenePool(scene_bytes, distinct, seed)
        with (
            tempfile.TemporaryDirectory(dir=folder) as data,
            serving(Path(data), pool.backbone_hash, config=CONFIG) as server,
        ):
            report = asyncio.run(measure(server, pool, vehicles, seconds, is_search, reconnects, seed))
    except UpcycleError as error:
        console.print(f"[red]{error}")
        raise typer.Exit(1) from error
    console.print(table_of(report))
    if report["reconnects"]:
        found = report["reconnects"]
        grown = f"{found['bytes_per_connection']:.0f} bytes of memory a connection"
        console.print(
            f"{found['connections']} connections opened and closed: {grown}, descriptors {found['descriptors']}"
        )
    console.print(f"carried, p99 below {WANTED_P99_S * 1e3:.0f} ms: {report['carried']} of {vehicles} vehicles")
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
