"""The picture of layers side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import audit_picture
from benchmarks.audit import TRUTH


@pytest.fixture
def clouds() -> dict[str, np.ndarray]:
    drawn = np.random.default_rng(0).uniform([2, -5, -2, 0], [30, 5, 1, 1], (50, 4)).astype(np.float32)
    names = (f"-|{TRUTH}", "conv1|decoder", "conv_out|decoder", "conv_out|occupancy")
    return {
        f"1|{group}|{name}": drawn[: 10 + index] for group in ("simulated", "kitti") for index, name in enumerate(names)
    }


def test_only_simulated_scans_are_drawn_and_layers_that_are_there(clouds) -> None:
    panels = audit_picture.panels_of(clouds, "decoder", 1)
    assert [(panel.title, len(panel.points)) for panel in panels] == [
        ("simulated scan", 10),
        ("layer 1 (conv1)", 11),
        ("layer 5 (conv_out)", 12),
    ]
    del clouds[f"1|simulated|-|{TRUTH}"]
    with pytest.raises(KeyError, match="simulated"):
        audit_picture.panels_of(clouds, "decoder", 1)


def test_it_is_written_as_a_small_png(clouds, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "clouds.npz", **clouds)
    picture = tmp_path / "new" / "layers.png"
    audit_picture.main(tmp_path / "clouds.npz", picture, "decoder", 1)
    with Image.open(picture) as drawn:
        assert (drawn.format, drawn.mode) == ("PNG", "P")
        assert 1000 < drawn.width <= audit_picture.WIDTH_PIXELS
