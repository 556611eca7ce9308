"""What the server makes of the stored features, beside what each vehicle saw in its own."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from server.repositories.archive import SceneArchive
from server.repositories.pseudonym import Pseudonyms
from server.repositories.repository import StoredScene
from shared_models import codecs
from shared_models.detector import Detector
from shared_models.records import Detections
from vehicle_client.detection_files import load_detections

# A lossy codec moves boxes; beyond this distance two boxes of a class are taken for different objects.
SAME_OBJECT_M = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneComparison:
    """One stored scene: the server's detections against the vehicle's own.

    max_abs_diff: largest difference in any box number (metres, radians) or score over matched detections.
    matched, unmatched: pairs, and detections of either side without a partner.
    decode_s, heads_s: seconds on the server.
    """

    vehicle_id: str
    frame_id: str
    codec: str
    payload_bytes: int
    vehicle_count: int
    server_count: int
    matched: int
    unmatched: int
    max_abs_diff: float
    decode_s: float
    heads_s: float


def compare_all(
    archive: SceneArchive,
    detector: Detector,
    detection_files: Mapping[tuple[str, str], Path],
    workers: int,
    pseudonyms: Pseudonyms | None = None,
) -> Iterator[SceneComparison]:
    """Every stored scene, decoded and run through the heads.

    detection_files: (vehicle id, frame id) -> the vehicle's own detections.
    pseudonyms: what the server calls the vehicles; None: by their plain ids.
    workers: scenes at once, each on one thread, so that the heads add up in the same order as on a one-thread vehicle.
    """

    def compare(stored: StoredScene) -> SceneComparison:
        vehicle_id = stored.manifest.vehicle_id
        if pseudonyms is not None:
            vehicle_id = pseudonyms.find(vehicle_id, stored.stored_at_ns, sorted({name for name, _ in detection_files}))
        own = load_detections(detection_files[vehicle_id, stored.manifest.frame_id])
        return replace(_compare_scene(archive, detector, stored, own), vehicle_id=vehicle_id)

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(compare, archive.catalogue.scenes())


def _compare_scene(archive: SceneArchive, detector: Detector, stored: StoredScene, own: Detections) -> SceneComparison:
    payload = archive.encoded(stored).payload
    started_s = time.perf_counter()
    features = codecs.decode(payload)
    decoded_s = time.perf_counter()
    with torch.inference_mode():
        found = detector.detect(features)
    ended_s = time.perf_counter()
    pairs = match(own, found)
    return SceneComparison(
        vehicle_id=stored.manifest.vehicle_id,
        frame_id=stored.manifest.frame_id,
        codec=stored.manifest.codec,
        payload_bytes=len(payload),
        vehicle_count=len(own),
        server_count=len(found),
        matched=len(pairs),
        unmatched=len(own) + len(found) - 2 * len(pairs),
        max_abs_diff=max((_difference(own, found, *pair) for pair in pairs), default=0.0),
        decode_s=decoded_s - started_s,
        heads_s=ended_s - decoded_s,
    )


def match(own: Detections, found: Detections) -> list[tuple[int, int]]:
    """Pairs (row in `own`, row in `found`) of one class, nearest centres first, at most `SAME_OBJECT_M` apart."""
    if len(own) == 0 or len(found) == 0:
        return []
    distances = torch.cdist(own.boxes[:, :3].double(), found.boxes[:, :3].double())
    distances[own.labels[:, None] != found.labels[None]] = math.inf
    pairs, taken_own, taken_found = [], set(), set()
    for flat in torch.argsort(distances.flatten(), stable=True).tolist():
        row, column = divmod(flat, len(found))
        if distances[row, column] > SAME_OBJECT_M:
            break
        if row not in taken_own and column not in taken_found:
            taken_own.add(row)
            taken_found.add(column)
            pairs.append((row, column))
    return pairs


def _difference(own: Detections, found: Detections, row: int, column: int) -> float:
    box = (own.boxes[row].double() - found.boxes[column].double()).abs()
    turn = float(box[6]) % (2 * math.pi)
    score = abs(float(own.scores[row]) - float(found.scores[column]))
    return max(float(box[:6].max()), min(turn, 2 * math.pi - turn), score)


def summarise(comparisons: list[SceneComparison]) -> dict[str, dict[str, Any]]:
    """By codec: bytes per frame, detections, differences, and the server's times."""
    summary = {}
    for codec in sorted({c.codec for c in comparisons}, key=list(codecs.CODECS).index):
        own = [comparison for comparison in comparisons if comparison.codec == codec]
        matched = sum(c.matched for c in own)
        summary[codec] = {
            "scenes": len(own),
            "bytes_per_frame": sum(c.payload_bytes for c in own) / len(own),
            "vehicle_detections": sum(c.vehicle_count for c in own),
            "server_detections": sum(c.server_count for c in own),
            "matched": matched,
            "unmatched": sum(c.unmatched for c in own),
            "max_abs_diff": max(c.max_abs_diff for c in own) if matched else None,
            "decode_s": sorted(c.decode_s for c in own)[len(own) // 2],
            "heads_s": sorted(c.heads_s for c in own)[len(own) // 2],
        }
    return summary
