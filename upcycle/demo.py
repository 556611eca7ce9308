"""`upcycle demo`: scans travel from two vehicles to a server and become the same detections."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from shared_models.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from upcycle.demo_fleet import Fleet

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

ALL_CODECS = ["float32", "float16", "int8", "int4"]
# One drive a vehicle, in streets that follow from the vehicle's name.
SIMULATED = "simulated,drives=1,frames_per_drive=20"
# The vehicles and the server's heads run on one thread each, so that even rounding is the same.
THREADS, VEHICLES, WORKERS = 1, 2, 2


@app.command()
def demo(
    kitti: Annotated[
        Path | None, typer.Option("--kitti", help="Folder with KITTI frames (training/, testing/); without, simulated.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="Weights; without, seeded and untrained ones.")
    ] = None,
    detector: Annotated[str | None, typer.Option(help="second_iou or pv_rcnn; a checkpoint knows its own.")] = None,
    setting: Annotated[str | None, typer.Option(help="kitti, waymo, small (the default) or tiny.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the weights where no checkpoint is given.")] = 0,
    codec: Annotated[list[str], typer.Option("--codec", help="Codecs to send each frame with.")] = ALL_CODECS,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results to this file.")] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", help="Keep the server's data, reports and logs in this new folder.")
    ] = None,
) -> None:
    """Start a server and two vehicles, stream all frames, and compare both sides' detections.

    Without --kitti the vehicles drive in simulated worlds, 20 frames each.

    Exit code 0: nothing was lost, and with float32 the server sees exactly what the vehicles see. 1: something differs.
    """
    from upcycle.demo_fleet import Fleet
    from vehicle_client.weights import load_detector

    if kitti is not None and not kitti.is_dir():
        raise ConfigError(f"--kitti: {kitti} is not a folder; give the one that holds training/ or testing/")
    loaded = load_detector(detector, setting, checkpoint, seed)
    options = {"--detector": detector, "--setting": setting, "--checkpoint": checkpoint, "--seed": seed}
    with _folder(keep) as folder:
        fleet = Fleet(
            dataset="kitti" if kitti else SIMULATED,
            root=kitti,
            folder=folder,
            detector_options=tuple(str(p) for pair in options.items() if pair[1] is not None for p in pair),
            backbone_hash=loaded.detector.backbone_hash,
            codecs=tuple(codec),
            vehicle_count=VEHICLES,
            threads=THREADS,
        )
        console = Console()
        with console.status("server and vehicles are running"):
            reports = fleet.run()
        results = _results(fleet, reports, loaded.detector, console) | {"weights": loaded.described()}
    _print_results(console, results)
    if json_file is not None:
        _write_json(json_file, results)
    if results["problems"]:
        raise typer.Exit(1)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise ConfigError(f"--keep: {keep} is not empty; earlier scenes there would be counted again")
        yield keep
        return
    folder = Path(tempfile.mkdtemp(prefix="upcycle-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _results(fleet: Fleet, reports: list[dict[str, Any]], detector: Any, console: Console) -> dict[str, Any]:
    """Counts, sizes, times and differences, as the JSON file has them."""
    import torch

    from server.repositories.archive import open_archive
    from server.repositories.pseudonym import open_pseudonyms
    from upcycle.demo_compare import compare_all, summarise

    torch.set_num_threads(THREADS)
    files = {
        (report["vehicle_id"], frame["frame_id"]): Path(frame["detections_file"])
        for report in reports
        for frame in report["frames"]
    }
    archive, pseudonyms = open_archive(fleet.server_data), open_pseudonyms(fleet.server_data)
    try:
        comparisons = []
        with console.status("the server decodes what it stored and runs the heads") as status:
            for number, comparison in enumerate(compare_all(archive, detector, files, WORKERS, pseudonyms), 1):
                comparisons.append(comparison)
                status.update(f"the server decodes what it stored and runs the heads: {number} scenes")
    finally:
        archive.close()
    summary = summarise(comparisons)
    stored = {(c.vehicle_id, c.frame_id, c.codec) for c in comparisons}
    frames_sent = sum(report["frames_used"] for report in reports)
    results: dict[str, Any] = {
        "dataset": fleet.dataset,
        "is_simulated": fleet.root is None,
        "vehicles": len(reports),
        "frames_sent": frames_sent,
        "frames_stored": sum(all((*frame, name) in stored for name in fleet.codecs) for frame in files),
        "frames_rejected": sum(report["frames_rejected"] for report in reports),
        "scenes_sent": sum(report["scenes"] for report in reports),
        "scenes_stored": len(comparisons),
        "raw_bytes_per_frame": sum(report["raw_bytes"] for report in reports) / max(frames_sent, 1),
        "bytes_per_frame": {codec: row["bytes_per_frame"] for codec, row in summary.items()},
        "detections_max_abs_diff": {codec: row["max_abs_diff"] for codec, row in summary.items()},
        "codecs": summary,
        "stage_seconds": {report["vehicle_id"]: report["stage_seconds"] for report in reports},
        "rejected": [rejected for report in reports for rejected in report["rejected"]],
    }
    return results | {"problems": _problems(results)}


def _problems(results: dict[str, Any]) -> list[str]:
    """What must not be: losses, and any difference where nothing was rounded away."""
    problems = []
    if results["frames_sent"] == 0:
        problems.append("no frame was sent")
    if results["frames_stored"] != results["frames_sent"] or results["scenes_stored"] != results["scenes_sent"]:
        problems.append(
            f"{results['frames_sent']} frames ({results['scenes_sent']} scenes) were sent, "
            f"{results['frames_stored']} ({results['scenes_stored']}) are stored"
        )
    if results["frames_rejected"]:
        problems.append(f"{results['frames_rejected']} frames could not be used")
    exact = results["codecs"].get("float32")
    if exact and (exact["max_abs_diff"] or exact["unmatched"]):
        problems.append(
            f"float32: server and vehicles differ by {exact['max_abs_diff']}, {exact['unmatched']} without a partner"
        )
    if exact and not exact["vehicle_detections"]:
        problems.append("no vehicle detected anything, so the comparison says nothing")
    return problems


def _print_results(console: Console, results: dict[str, Any]) -> None:
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


def _write_json(path: Path, results: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
