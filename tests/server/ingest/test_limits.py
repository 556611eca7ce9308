"""The settings of limits and timeouts: what makes no sense is refused, a file names what it sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from server.ingest.config import IngestConfig
from server.ingest.limits import LimitsConfig
from shared_models.configuration import from_toml
from shared_models.errors import ConfigError, InvalidValueError


@pytest.mark.parametrize(
    "wrong",
    [
        {"vehicle_stored_bytes": -1},
        {"streams": -1},
        {"vehicles_remembered": 0},
        {"recount_s": 0.0},
        {"vehicle_scenes_s": 1.0, "vehicle_burst_scenes": 0},
        {"vehicle_bytes_s": 1.0, "vehicle_burst_bytes": 0},
        {"vehicle_bytes_s": float("nan")},
    ],
)
def test_limits_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match="LimitsConfig"):
        LimitsConfig(**wrong)


def test_settings_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "serve.toml"
    path.write_text("partial_count = 7\n[limits]\nvehicle_day_bytes = 5\n[slow_streams]\nidle_s = 9\n")
    config = from_toml(IngestConfig, path)
    assert (config.partial_count, config.limits.vehicle_day_bytes, config.slow_streams.idle_s) == (7, 5, 9.0)
    assert config.watchdog == IngestConfig().watchdog


def test_unknown_key_lists_the_known(tmp_path: Path) -> None:
    path = tmp_path / "serve.toml"
    path.write_text("[limits]\nvehicle_bytes = 5\n")
    with pytest.raises(ConfigError, match="vehicle_day_bytes"):
        from_toml(IngestConfig, path)
