from __future__ import annotations

from typing import Any

import pytest

from shared_models.errors import InvalidValueError
from vehicle_client.upload_config import UploaderConfig


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_in_flight": 0},
        {"max_attempts": 0},
        {"first_delay_s": 0.0},
        {"first_delay_s": 31.0},
        {"max_asked_s": 0.0},
        {"stall_s": 0.0},
        {"answer_s": -1.0},
        {"call_timeout_s": 0.0},
    ],
)
def test_senseless_times_are_refused(wrong: dict[str, Any]):
    with pytest.raises(InvalidValueError, match="UploaderConfig: expected"):
        UploaderConfig(**wrong)
    UploaderConfig(give_up_after_s=0.0)
