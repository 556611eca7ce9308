"""What `upcycle vehicle replay` prints at the end of a drive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from vehicle_client.drive_result import DriveResult


def print_summary(result: DriveResult, weights: str) -> None:
    """Print counts, times and everything that was refused or dropped; `weights` describes the detector."""
    log = result.log
    console = Console()
    console.print(f"{log.used} frames used, {log.rejected} rejected; {weights}", soft_wrap=True)
    table = Table()
    table.add_column("")
    table.add_column("median", justify="right")
    table.add_column("max", justify="right")
    for stage, seconds in log.stage_seconds().items():
        table.add_row(stage, f"{seconds['median'] * 1e3:.1f} ms", f"{seconds['max'] * 1e3:.1f} ms")
    console.print(table)
    _print_selection(result, console)
    _print_links(result, console)
    _print_outbox(result, console)
    for frame in log.rejections():
        console.print(f"rejected {frame.frame_id}: {frame.reason}", style="red", markup=False)
    for refusal in result.upload.refusals if result.upload else ():
        console.print(f"refused by the server: {refusal.frame_id}: {refusal.error}", style="red", markup=False)


def _print_selection(result: DriveResult, console: Console) -> None:
    log = result.log
    for codec, size in log.payload_bytes.items():
        console.print(f"{codec}: {size / max(1, log.selected) / 1e3:.1f} kB a frame")
    for reason, count in log.selected_by.items():
        console.print(f"{count} frames selected ({reason})", markup=False, soft_wrap=True)
    for reason, count in log.not_selected.items():
        console.print(f"{count} frames not selected ({reason})", markup=False, soft_wrap=True)


def _print_links(result: DriveResult, console: Console) -> None:
    for name, counts in (result.bandwidth or {}).get("links", {}).items():
        left = counts["left_bytes"]
        budget = "" if left is None else f", {left / 1e6:.1f} MB left today"
        if counts["sent_today_bytes"] or left is not None:
            console.print(f"{name}: {counts['sent_today_bytes'] / 1e6:.1f} MB sent today{budget}")


def _print_outbox(result: DriveResult, console: Console) -> None:
    outbox = result.outbox
    console.print(
        f"outbox: {outbox.pending_scenes} scenes wait ({outbox.pending_bytes / 1e6:.1f} MB); since it was made "
        f"{outbox.delivered_scenes} delivered, {outbox.evicted_scenes} dropped because it was full "
        f"({outbox.evicted_bytes / 1e6:.1f} MB), {outbox.given_up_scenes} given up",
        soft_wrap=True,
    )
    if result.dropped_scenes:
        console.print(
            f"dropped in this drive because the outbox was full: {result.dropped_scenes} scenes; raise --outbox-bytes, "
            "or select fewer frames",
            style="red",
            soft_wrap=True,
        )
