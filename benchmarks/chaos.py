"""Thousands of `kill -9` and cut links during an upload: is each scene stored once, byte for byte, and none lost?

    python -m benchmarks.chaos [--interruptions 200] [--points DIR] [--seed N] [--in-flight 1] [--json FILE]

`DIR` holds real scans (`.bin`, float32 x y z intensity); without it the payloads are SIMULATED. A vehicle and a
server, each a process, talk through a proxy. After a random number of bytes one of them is killed, or their connection
broken.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.faults.inquest import hold_inquest
from benchmarks.faults.payloads import Payloads, real_features, simulated_features, write_payloads
from benchmarks.faults.proxy import LinkConfig
from benchmarks.faults.storm import Storm, StormConfig
from shared_models.errors import UpcycleError


def make_payloads(folder: Path, points: Path | None, count: int, setting: str, codec: str, seed: int) -> Payloads:
    """Payloads of real scans in `points`, or simulated ones."""
    if points is None:
        return write_payloads(folder, simulated_features(count, seed), codec, "SIMULATED features (noise)")
    source = f"scans of {points.name}, SECOND {setting}, seeded, untrained weights (seed 0)"
    return write_payloads(folder, real_features(points, count, setting, seed), codec, source)


def run(config: StormConfig, folder: Path, payloads: Payloads, link: LinkConfig | None = None) -> dict[str, Any]:
    """Storm and inquest; the report."""
    with Progress(transient=True) as progress:
        task = progress.add_task("interruptions", total=config.interruptions)
        storm = Storm(config, folder, folder / "payloads", link, link, lambda: progress.advance(task))
        asyncio.run(storm.run())
    verdict = hold_inquest(storm.paths, folder / "payloads", config.in_flight)
    return {
        "seed": config.seed,
        "in_flight": config.in_flight,
        "chunk_bytes": config.chunk_bytes,
        "interruptions": dict(storm.done),
        "seconds": storm.seconds,
        "payloads": {key: payloads.about[key] for key in ("source", "codec")},
        "distinct_payloads": len(payloads),
        **verdict.as_json(),
        "link_bytes": storm.link_bytes,
        "spare_bytes_per_interruption": (storm.link_bytes - verdict.payload_bytes) / max(storm.done.total(), 1),
    }


def table_of(report: dict[str, Any]) -> Table:
    """The report for people."""
    table = Table(title=f"{sum(report['interruptions'].values())} interruptions in {report['seconds']:.0f} s")
    for justify in ("left", "right"):
        table.add_column(justify=justify)
    for kind, count in report["interruptions"].items():
        table.add_row(kind, str(count))
    names = ("scenes", "stored", "acknowledged", "payload_bytes", "server_starts", "vehicle_starts", "received_chunks")
    for name in (*names, "sent_chunks", "received_again", "handed_again", "whole_again", "link_bytes"):
        table.add_row(name, str(report[name]))
    table.add_row("bytes too many, an interruption", f"{report['spare_bytes_per_interruption']:.0f}")
    return table


def main(
    interruptions: Annotated[int, typer.Option(help="Kills and cuts.", min=0)] = 200,
    points: Annotated[Path | None, typer.Option(help="Folder of real .bin scans.", exists=True)] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything drawn; a new one without it.")] = None,
    in_flight: Annotated[int, typer.Option(help="Scenes under way at once.", min=1)] = 1,
    chunk_bytes: Annotated[int, typer.Option(help="Size of a chunk.", min=1)] = 4096,
    payloads: Annotated[int, typer.Option(help="Distinct payloads.", min=1)] = 100,
    setting: Annotated[str, typer.Option(help="The detector's setting for real scans.")] = "tiny",
    codec: Annotated[str, typer.Option(help="Codec of the payloads.")] = "int8",
    delay_ms: Annotated[float, typer.Option(help="Delay of the link, each way.", min=0)] = 0,
    loss: Annotated[float, typer.Option(help="Chance of a stall of 0.2 s, each 16 KiB.", min=0, max=1)] = 0,
    folder: Annotated[Path | None, typer.Option(help="Keep everything here, which must be empty.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file.")] = None,
) -> None:
    """Interrupt an upload at random bytes and see what is stored."""
    torch.set_num_threads(1)
    console = Console()
    seed = secrets.randbelow(1 << 31) if seed is None else seed
    console.print(f"seed {seed}")
    link = LinkConfig(delay_s=delay_ms / 1000, jitter_s=delay_ms / 2000, loss=loss) if delay_ms or loss else None
    config = StormConfig(interruptions=interruptions, seed=seed, in_flight=in_flight, chunk_bytes=chunk_bytes)
    try:
        with tempfile.TemporaryDirectory() if folder is None else nullcontext(str(folder)) as chosen:
            made = make_payloads(Path(chosen) / "payloads", points, payloads, setting, codec, seed)
            report = run(config, Path(chosen), made, link)
    except UpcycleError as error:
        console.print(f"[red]{error}")
        raise typer.Exit(1) from error
    console.print(table_of(report))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    for fault in report["faults"]:
        console.print(f"[red]{fault}")
    if report["faults"]:
        raise typer.Exit(1)
    console.print("Each scene is stored once, byte for byte; nothing acknowledged is missing.")


if __name__ == "__main__":
    typer.run(main)
