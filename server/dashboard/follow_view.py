"""What a run that follows its store has decided, as JSON: its rounds, and the scenes that it keeps out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from server.dashboard.numbers import finite, iso_time
from server.training.follow_records import FollowRecords, RoundRecord, SceneDecision

MOST = 200  # scenes in quarantine that are listed, those that came last


def describe_following(data: Path, run_id: str) -> dict[str, Any]:
    """Rounds in order, how many scenes are in each state, and those in quarantine, the last one first.

    A run that does not follow its store has none of them.
    """
    records = FollowRecords(data / "runs" / run_id)
    decisions = list(records.decisions().values())
    kept_out = [each for each in reversed(decisions) if each.state == "quarantined"]
    states: dict[str, int] = {}
    for each in decisions:
        states[each.state] = states.get(each.state, 0) + 1
    return {
        "run_id": run_id,
        "rounds": [_round(record) for record in records.rounds()],
        "scenes": [{"state": state, "count": states[state]} for state in sorted(states)],
        "quarantine": [_scene(each) for each in kept_out[:MOST]],
    }


def _round(record: RoundRecord) -> dict[str, Any]:
    return {
        "number": record.number,
        "last_step": record.last_step,
        "scenes": record.scenes,
        "admitted": record.admitted,
        "quarantined": record.quarantined,
        "removed": record.removed,
        "is_published": record.is_passed,
        "why": record.why,
        "checkpoint": record.checkpoint,
        "at": iso_time(record.at_ns),
        "scores": [{"name": name, "value": finite(value)} for name, value in record.scores.items()],
    }


def _scene(decision: SceneDecision) -> dict[str, Any]:
    return {
        "scene_id": decision.scene_id,
        "vehicle": decision.vehicle,
        "round": decision.round,
        "at": iso_time(decision.at_ns),
        "distance": decision.distance,
        "reasons": [dict(reason) for reason in decision.reasons],
    }
