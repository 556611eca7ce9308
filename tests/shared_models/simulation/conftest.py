from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from shared_models.datasets.simulated import SimulatedDataset
from shared_models.records import Frame
from shared_models.simulation.simulator import SimulatedConfig

MakeFrame = Callable[..., Frame]


@cache
def _dataset(config: SimulatedConfig) -> SimulatedDataset:
    return SimulatedDataset(config)


@pytest.fixture(scope="session")
def make_frame() -> MakeFrame:
    """`make_frame(index, domain="usa", ...)` gives one frame of that configuration; worlds are shared by the tests."""

    def make(index: int = 1, **settings: object) -> Frame:
        config = SimulatedConfig(**{"drives": 3, "frames_per_drive": 3, **settings})  # type: ignore[arg-type]
        dataset = _dataset(config)
        return dataset.frame(dataset.frame_ids[index])

    return make
