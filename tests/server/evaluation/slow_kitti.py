"""KITTI's evaluation as the protocol tells it: one frame, one threshold, one object after the other, no arrays.

For boxes that are not turned; the golden frames check turned ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared_models.datasets.kitti_labels import KittiObject

Frames = Sequence[tuple[list[KittiObject], list[KittiObject]]]
LIMITS = {"easy": (40, 0, 0.15), "moderate": (25, 1, 0.30), "hard": (25, 2, 0.50)}
NEIGHBOURS = {"car": "van", "pedestrian": "person_sitting", "cyclist": ""}
MIN_IOU = {"car": 0.7, "pedestrian": 0.5, "cyclist": 0.5}


@dataclass
class Counts:
    hits: int = 0
    false_alarms: int = 0
    scores: list[float] = field(default_factory=list)


def shared_length(a: tuple[float, float], b: tuple[float, float]) -> float:
    return max(0.0, min(a[1], b[1]) - max(a[0], b[0]))


def image_sides(o: KittiObject) -> list[tuple[float, float]]:
    left, top, right, bottom = o.image_box
    return [(left, right), (top, bottom)]


def box_sides(o: KittiObject, metric: str) -> list[tuple[float, float]]:
    if metric == "image":
        return image_sides(o)
    height, width, length = o.size_m
    x, y, z = o.bottom_centre_m
    sides = [(x - length / 2, x + length / 2), (z - width / 2, z + width / 2)]
    return sides if metric == "bev" else [*sides, (y - height, y)]


def product(lengths: Sequence[float]) -> float:
    result = 1.0
    for length in lengths:
        result *= length
    return result


def iou(a: KittiObject, b: KittiObject, metric: str) -> float:
    sides_a, sides_b = box_sides(a, metric), box_sides(b, metric)
    shared = product([shared_length(p, q) for p, q in zip(sides_a, sides_b, strict=True)])
    size_a, size_b = (product([q - p for p, q in sides]) for sides in (sides_a, sides_b))
    return shared / (size_a + size_b - shared)


def covered(region: KittiObject, detection: KittiObject) -> float:
    sides = list(zip(image_sides(region), image_sides(detection), strict=True))
    return product([shared_length(p, q) for p, q in sides]) / product([q - p for _, (p, q) in sides])


def height_of(o: KittiObject) -> float:
    return abs(o.image_box[3] - o.image_box[1])


def truth_role(o: KittiObject, name: str, difficulty: str) -> str:
    min_height, max_occlusion, max_truncation = LIMITS[difficulty]
    if o.kind.lower() == name:
        fits = height_of(o) > min_height and o.occlusion <= max_occlusion and o.truncation <= max_truncation
        return "counted" if fits else "ignored"
    return "ignored" if o.kind.lower() == NEIGHBOURS[name] else "dropped"


def detection_role(o: KittiObject, name: str, difficulty: str) -> str:
    if height_of(o) < LIMITS[difficulty][0]:
        return "ignored"
    return "valid" if o.kind.lower() == name else "dropped"


def match_frame(
    labelled: list[KittiObject],
    detected: list[KittiObject],
    about: tuple[str, str, str],
    threshold: float | None,
    counts: Counts,
) -> None:
    """Adds one frame's counts; without a threshold the first pass, which takes the surest detection."""
    name, metric, difficulty = about
    roles = [detection_role(o, name, difficulty) for o in detected]
    taken: set[int] = set()
    for truth in labelled:
        role = truth_role(truth, name, difficulty)
        if truth.kind == "DontCare" or role == "dropped":
            continue
        best: int | None = None
        for j, detection in enumerate(detected):
            if roles[j] == "dropped" or j in taken or (threshold is not None and detection.score < threshold):
                continue
            if iou(truth, detection, metric) <= MIN_IOU[name]:
                continue
            if best is None or is_better(detected, roles, truth, (j, best), metric, threshold):
                best = j
        if best is None:
            continue
        taken.add(best)
        if role == "counted" and roles[best] == "valid":
            counts.hits += 1
            counts.scores.append(detected[best].score)
    regions = [o for o in labelled if o.kind == "DontCare"] if metric == "image" else []
    for j, detection in enumerate(detected):
        if roles[j] == "valid" and j not in taken and (threshold is None or detection.score >= threshold):
            excused = any(covered(region, detection) > MIN_IOU[name] for region in regions)
            counts.false_alarms += not excused


def is_better(
    detected: list[KittiObject],
    roles: list[str],
    truth: KittiObject,
    pair: tuple[int, int],
    metric: str,
    threshold: float | None,
) -> bool:
    new, old = pair
    if threshold is None:
        return detected[new].score > detected[old].score
    if roles[new] == "ignored":
        return False
    return roles[old] == "ignored" or iou(truth, detected[new], metric) > iou(truth, detected[old], metric)


def count(frames: Frames, about: tuple[str, str, str], threshold: float | None) -> Counts:
    counts = Counts()
    for labelled, detected in frames:
        match_frame(labelled, detected, about, threshold, counts)
    return counts


def evaluate(frames: Frames, name: str, metric: str, difficulty: str) -> dict[str, float]:
    """ap_r40, ap_r11 and ap_all in percent, and the number of objects."""
    about = (name, metric, difficulty)
    objects = sum(truth_role(o, name, difficulty) == "counted" for labelled, _ in frames for o in labelled)
    if objects == 0:
        return {"objects": 0}
    samples = []
    for threshold in sampled(sorted(count(frames, about, None).scores, reverse=True), objects):
        found = count(frames, about, threshold)
        samples.append(found.hits / (found.hits + found.false_alarms) if found.hits else 0.0)
    samples += [0.0] * (41 - len(samples))
    samples = [max(samples[k:]) for k in range(41)]
    return {
        "objects": objects,
        "ap_r40": 100 * sum(samples[1:]) / 40,
        "ap_r11": 100 * sum(samples[::4]) / 11,
        "ap_all": all_points(frames, about, objects),
    }


def sampled(scores: list[float], objects: int) -> list[float]:
    chosen, wanted = [], 0.0
    for k, score in enumerate(scores):
        is_last = k == len(scores) - 1
        here, after = (k + 1) / objects, (k + 2) / objects
        if not is_last and after - wanted < wanted - here:
            continue
        chosen.append(score)
        wanted += 1 / 40
    return chosen


def all_points(frames: Frames, about: tuple[str, str, str], objects: int) -> float:
    points = []
    for threshold in {o.score for _, detected in frames for o in detected}:
        found = count(frames, about, threshold)
        if found.hits:
            points.append((found.hits / objects, found.hits / (found.hits + found.false_alarms)))
    area, before = 0.0, 0.0
    for recall in sorted({recall for recall, _ in points}):
        area += (recall - before) * max(p for r, p in points if r >= recall)
        before = recall
    return 100 * area
