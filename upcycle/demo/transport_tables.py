"""The transport's results as tables on the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def print_transport(console: Console, results: dict[str, Any]) -> None:
    """What travelled, stage times, and what must not be."""
    kind = "simulated frames" if results["is_simulated"] else "frames"
    console.print(
        f"{results['frames_sent']} {kind} sent by {results['vehicles']} vehicles, "
        f"{results['frames_stored']} stored; detector: {results['weights']}",
        soft_wrap=True,
    )
    console.print(_codec_table(results))
    console.print(f"raw points: {results['raw_bytes_per_frame'] / 1e3:.1f} KB a frame (float32 x y z intensity)")
    console.print(_stage_table(results))
    for problem in results["problems"]:
        console.print(f"[red]problem:[/] {problem}")
    if not results["problems"]:
        exact = "; with float32 the server sees exactly what the vehicles see" if "float32" in results["codecs"] else ""
        console.print(f"[green]nothing was lost[/]{exact}")


def _codec_table(results: dict[str, Any]) -> Table:
    raw = results["raw_bytes_per_frame"]
    table = Table(title="What travelled, and what the server sees in it")
    table.add_column("codec")
    for heading in ("KB/frame", "x raw", "vehicle", "server", "unmatched", "max diff"):
        table.add_column(heading, justify="right")
    for codec, row in results["codecs"].items():
        size = row["bytes_per_frame"]
        difference = "-" if row["max_abs_diff"] is None else f"{row['max_abs_diff']:.3g}"
        boxes = (str(row["vehicle_detections"]), str(row["server_detections"]), str(row["unmatched"]))
        table.add_row(codec, f"{size / 1e3:.1f}", f"{size / raw:.2f}" if raw else "-", *boxes, difference)
    table.caption = "boxes found on the vehicles and on the server; difference in m, rad or score"
    return table


def _stage_table(results: dict[str, Any]) -> Table:
    """One row a stage, one column a process."""
    vehicles = results["stage_seconds"]
    table = Table(title="Median time a frame, ms")
    table.add_column("stage")
    for name in (*vehicles, "server"):
        table.add_column(name, justify="right")
    for stage in dict.fromkeys(stage for seconds in vehicles.values() for stage in seconds):
        cells = (f"{seconds[stage]['median'] * 1e3:.1f}" if stage in seconds else "" for seconds in vehicles.values())
        table.add_row(stage, *cells, "")
    for codec, row in results["codecs"].items():
        table.add_row(f"decode {codec}", *[""] * len(vehicles), f"{row['decode_s'] * 1e3:.1f}")
    heads_s = [row["heads_s"] for row in results["codecs"].values()]
    if heads_s:
        table.add_row("heads", *[""] * len(vehicles), f"{max(heads_s) * 1e3:.1f}")
    return table
