"""Layers side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from server.audit.page.beside import beside_section, layer_name
from server.audit.page.source import read_audited
from shared_models.errors import ConfigError


def test_the_shallowest_layer_comes_first_and_each_has_a_row_and_a_panel(audit_folder: Callable[..., Path]) -> None:
    reports = [read_audited(audit_folder(layer, layer)) for layer in ("conv_out", "conv1", "conv3")]
    made = beside_section(reports)
    places = [made.index(f'<th scope="row">layer {number}') for number in (1, 3, 5)]
    assert places == sorted(places)
    assert "a|b: SIMULATED original, layer 1 (conv1), layer 3 (conv3), layer 5 (conv_out), from above" in made
    assert made.count("<img") == 2
    assert "the reports kept no scene in common" in made  # the second group
    without = beside_section(reports, with_pictures=False)
    assert "<img" not in without
    assert "left out" in without


def test_layers_of_different_guards_say_so(audit_folder: Callable[..., Path]) -> None:
    one, two = (read_audited(audit_folder(name)) for name in ("one", "two"))
    two.report["scope"]["guard"] = "noise"  # type: ignore[index]
    assert layer_name(two, [one, two]) == "layer 5 (conv_out), guard noise"


def test_reports_that_share_nothing_are_refused(audit_folder: Callable[..., Path]) -> None:
    one, two = (read_audited(audit_folder(name)) for name in ("one", "two"))
    for each in two.report["attacks"]:
        each["title"] += "!"
    with pytest.raises(ConfigError, match="no attack"):
        beside_section([one, two])
