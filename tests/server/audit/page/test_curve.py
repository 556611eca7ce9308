"""Leakage against detection quality."""

from __future__ import annotations

from typing import Any

import pytest

from server.audit.page.curve import curve_section
from shared_models.errors import ConfigError
from tests.server.audit.page.small_report import EVIL, GROUPS

AP, F_SCORE = "ap_all/strict/car/3d/moderate", "f_score_0.2m"


def estimate(mean: float | None) -> dict[str, Any]:
    return {"mean": mean, "low": None if mean is None else mean - 0.01, "high": None, "scenes": 8}


@pytest.fixture
def curve() -> dict[str, Any]:
    leaked = {group: {F_SCORE: {"attack": f"occupancy {EVIL}", "estimate": estimate(0.37)}} for group in GROUPS}
    finished = {
        "name": f"noise {EVIL}",
        "guard": "noise,epsilon=8",
        "codec": "int8",
        "state": "finished",
        "ap": {AP: estimate(41.25)},
        "bytes_per_scene": 98765.0,
        "leakage": leaked,
        "decisions": [
            {"kind": "retrieval", "group": "g", "attack": "a", "measure": "recall@1", "estimate": estimate(0.46)}
        ],
    }
    failed = {"name": "decoys", "guard": "decoys", "codec": "int8", "state": "failed", "error": f"no space {EVIL}"}
    victims = [
        {"name": group, "dataset": "d", "is_simulated": group == "simulated", "relation": "other", "scenes": 8}
        for group in GROUPS
    ]
    return {
        "schema": "upcycle.audit-curve.v1",
        "name": f"curve {EVIL}",
        "training": {
            "run_file": "short.toml",
            "steps": 150,
            "evaluation": {"dataset": "simulated", "frames": 60, "is_simulated": True},
            "metrics": [AP],
        },
        "audit": {"effort": "quick", "victims": victims, "attacks": ["occupancy"]},
        "measures": [F_SCORE],
        "start": {AP: estimate(30.5)},
        "controls": [{"name": f"labelled only {EVIL}", "ap": {AP: estimate(33.75)}}],
        "floors": {GROUPS[0]: {"mean scene": {F_SCORE: estimate(0.29)}}},
        "ceilings": {GROUPS[0]: {"raw points": {F_SCORE: estimate(1.0)}}},
        "cells": [finished, failed],
    }


def test_all_numbers_are_there_and_what_failed_is_named(curve: dict[str, Any]) -> None:
    made = curve_section(curve)
    for words in (
        "41.25",
        "0.37",
        "98,765",
        "30.50",
        "33.75",
        "0.29",
        "0.46",
        "failed",
        "no space",
        "8 SIMULATED scenes",
    ):
        assert words in made
    assert made.count("<img") == len(GROUPS)
    assert EVIL not in made


def test_cells_without_numbers_make_no_picture_of_nothing(curve: dict[str, Any]) -> None:
    curve["cells"] = [curve["cells"][1]]
    curve["start"], curve["controls"], curve["floors"] = {AP: estimate(None)}, [], {}
    assert "failed" in curve_section(curve)


def test_another_form_is_refused(curve: dict[str, Any]) -> None:
    for wrong, words in (([], "schema"), ({**curve, "schema": "x"}, "another schema"), ({"schema": "x"}, "cells")):
        with pytest.raises(ConfigError, match=words):
            curve_section(wrong)
    curve["measures"] = []
    with pytest.raises(ConfigError, match="at least one"):
        curve_section(curve)
