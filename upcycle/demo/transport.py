"""Whether scans travelled from vehicles to the server without loss, and became the same detections on both sides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from server.repositories.archive import open_archive
from server.repositories.pseudonym import open_pseudonyms
from shared_models.detector import Detector
from upcycle.demo.compare import compare_all, summarise
from upcycle.demo.fleet import Fleet

# The vehicles and the server's heads run on one thread each, so that even rounding is the same.
THREADS, WORKERS = 1, 2


def transported(
    fleet: Fleet, reports: list[dict[str, Any]], detector: Detector, progress: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Counts, sizes, times and differences, as the JSON file has them; "problems" lists what must not be.

    reports: of the fleet's vehicles. progress: called with the number of scenes that were compared.
    """
    files = {
        (report["vehicle_id"], frame["frame_id"]): Path(frame["detections_file"])
        for report in reports
        for frame in report["frames"]
    }
    comparisons = []
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    archive, pseudonyms = open_archive(fleet.server_data), open_pseudonyms(fleet.server_data)
    try:
        for comparison in compare_all(archive, detector, files, WORKERS, pseudonyms):
            comparisons.append(comparison)
            if progress is not None:
                progress(len(comparisons))
    finally:
        archive.close()
        torch.set_num_threads(before)
    summary = summarise(comparisons)
    stored = {(c.vehicle_id, c.frame_id, c.codec) for c in comparisons}
    frames_sent = sum(report["frames_used"] for report in reports)
    raw_bytes = sum(report["raw_bytes"] for report in reports) / max(frames_sent, 1)
    results: dict[str, Any] = {
        "dataset": fleet.dataset,
        "guard": fleet.guard,
        "is_simulated": fleet.root is None,
        "vehicles": len(reports),
        "frames_sent": frames_sent,
        "frames_stored": sum(all((*frame, name) in stored for name in fleet.codecs) for frame in files),
        "frames_rejected": sum(report["frames_rejected"] for report in reports),
        "scenes_sent": sum(report["scenes"] for report in reports),
        "scenes_stored": len(comparisons),
        "raw_bytes_per_frame": raw_bytes,
        "bytes_per_frame": {codec: row["bytes_per_frame"] for codec, row in summary.items()},
        "share_of_raw": {codec: row["bytes_per_frame"] / max(raw_bytes, 1) for codec, row in summary.items()},
        "detections_max_abs_diff": {codec: row["max_abs_diff"] for codec, row in summary.items()},
        "codecs": summary,
        "stage_seconds": {report["vehicle_id"]: report["stage_seconds"] for report in reports},
        "rejected": [rejected for report in reports for rejected in report["rejected"]],
    }
    return results | {"problems": problems_of(results)}


def problems_of(results: dict[str, Any]) -> list[str]:
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
    is_guarded = results.get("guard", "none") != "none"  # then the server sees other features than the vehicles
    exact = None if is_guarded else results["codecs"].get("float32")
    if exact and (exact["max_abs_diff"] or exact["unmatched"]):
        problems.append(
            f"float32: server and vehicles differ by {exact['max_abs_diff']}, {exact['unmatched']} without a partner"
        )
    if exact and not exact["vehicle_detections"]:
        problems.append("no vehicle detected anything, so the comparison says nothing")
    return problems
