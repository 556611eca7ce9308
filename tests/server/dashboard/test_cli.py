"""`upcycle dashboard`: what it refuses before it listens."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.dashboard.cli import app
from server.dashboard.detection import SceneDetector
from shared_models import checkpoints
from shared_models.detector import Detector
from shared_models.errors import CheckpointError, ConfigError, NotFoundError


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("--host", "0.0.0.0"), ConfigError, "--insecure-public"),
        (("--port", "70000"), ConfigError, "65535"),
        (("--data", "nowhere"), NotFoundError, "no server data"),
        (("--checkpoint", "nowhere"), CheckpointError, "no such checkpoint"),
    ],
)
def test_refuses(data: Path, arguments: tuple[str, ...], error: type[Exception], message: str) -> None:
    result = CliRunner().invoke(app, ["--data", str(data), *arguments])
    assert isinstance(result.exception, error)
    assert message in str(result.exception)


def test_weights_are_called_what_they_are(detector: Detector, tmp_path: Path) -> None:
    for name, is_trained in (("seeded", False), ("trained", True)):
        checkpoints.save(detector, tmp_path / name, is_trained=is_trained)
    seeded, trained = SceneDetector.open(tmp_path / "seeded"), SceneDetector.open(tmp_path / "trained")
    assert seeded.weights == "second_iou, checkpoint seeded: seeded, untrained weights, its boxes mean nothing"
    assert trained.weights == "second_iou, checkpoint trained"
    assert seeded.backbone_hash == detector.backbone_hash
