from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shared_models.errors import StorageError
from vehicle_client.report import (
    DriveLog,
    FrameReport,
    RejectedFrame,
    SceneReport,
    drive_report,
    peak_memory_bytes,
    write_report,
)


def frame(index: int) -> FrameReport:
    scenes = tuple(
        SceneReport(
            scene_id=f"{index}-{codec}", codec=codec, payload_bytes=size * (index + 1), encode_s=0.5, put_s=0.25
        )
        for codec, size in (("float32", 100), ("int8", 30))
    )
    return FrameReport(
        frame_id=str(index),
        points=10,
        raw_bytes=160,
        cells=3,
        scenes=scenes,
        detections_file=None,
        read_s=float(index),
        late_s=0.5 * index,
        extract_s=2.0,
        detect_s=0.0,
        guard_s=0.0,
    )


def test_a_report_counts_everything(tmp_path: Path):
    outcomes = [frame(0), RejectedFrame(frame_id="x", reason="cut short"), frame(1), frame(2)]
    path = tmp_path / "reports/drive.json"
    write_report(path, drive_report({"vehicle_id": "car-1"}, DriveLog(outcomes)))
    report = json.loads(path.read_text())
    assert report["vehicle_id"] == "car-1"
    assert (report["frames_used"], report["frames_rejected"], report["frames_late"], report["scenes"]) == (3, 1, 2, 6)
    assert report["raw_bytes"] == 480
    assert report["payload_bytes"] == {"float32": 600, "int8": 180}
    assert report["stage_seconds"]["read"] == {"median": 1.0, "max": 2.0}
    assert report["stage_seconds"]["encode int8"] == {"median": 0.5, "max": 0.5}
    assert report["rejected"] == [{"frame_id": "x", "reason": "cut short"}]
    assert report["frames"][1]["scenes"][0]["scene_id"] == "1-float32"


def test_a_drive_without_end_keeps_counting_but_lists_the_latest_frames_only():
    log = DriveLog((frame(index) for index in range(20)), max_listed=3)
    log.add(RejectedFrame(frame_id="x", reason="cut short"))
    whole = drive_report({}, DriveLog(frame(index) for index in range(20)))
    report = drive_report({}, log)
    assert [f["frame_id"] for f in report["frames"] + report["rejected"]] == ["18", "19", "x"]
    assert (report["frames_used"], report["frames_rejected"], report["frames_listed"]) == (20, 1, 3)
    for total in ("frames_late", "scenes", "raw_bytes", "payload_bytes"):
        assert report[total] == whole[total]
    assert report["stage_seconds"]["read"] == {"median": 18.5, "max": 19.0}


def test_a_drive_without_frames_has_a_report():
    assert drive_report({}, DriveLog())["stage_seconds"] == {}


def test_memory_is_that_of_a_python_process():
    assert 10e6 < peak_memory_bytes() < 1e12


def test_a_report_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(StorageError, match="cannot be written"):
        write_report(tmp_path, {})


def test_selected_frames_are_counted_by_rule():
    chosen = replace(frame(0), selected_by="every: one of 2 frames", score=0.5)
    left_out = replace(frame(1), scenes=(), not_selected="budget: 1 scenes per hour")
    report = drive_report({}, DriveLog([chosen, left_out, left_out]))
    assert (report["frames_used"], report["frames_selected"]) == (3, 1)
    assert report["selected_by"] == {"every: one of 2 frames": 1}
    assert report["not_selected"] == {"budget: 1 scenes per hour": 2}
    assert [each["score"] for each in report["frames"]] == [0.5, None, None]
    assert drive_report({}, DriveLog([frame(0)]))["frames_selected"] == 1
