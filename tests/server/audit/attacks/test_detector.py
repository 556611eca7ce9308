"""The stock detector on restored scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from server.audit.attack import Workbench
from server.audit.attacks.detector import StockDetector, StockDetectorConfig
from server.audit.threat import Ability
from shared_models import checkpoints, detectors
from shared_models.errors import CheckpointError, ConfigError, InvalidValueError

BENCH = Workbench()


def test_it_is_the_detector_itself_on_the_points(small_view, small_victim) -> None:
    view = small_view("conv_out")
    attack = StockDetector(StockDetectorConfig(intensity=0.5))
    attack.prepare(view, BENCH)
    detector = view.white_box()
    with torch.inference_mode():
        expected = detector.detect(detector.extract(torch.from_numpy(small_victim)))
    assert torch.equal(attack.detect(small_victim).boxes, expected.boxes)
    alike = small_victim.copy()
    alike[:, 3] = 0.5
    assert torch.equal(attack.detect(small_victim[:, :3]).scores, attack.detect(alike).scores)
    assert len(attack.detect(np.zeros((0, 3), np.float32)).scores) >= 0


def test_without_a_checkpoint_it_needs_the_audited_detector(small_view) -> None:
    assert StockDetector().required() == {Ability.WHITE_BOX}
    assert StockDetector(StockDetectorConfig(checkpoint="x")).required() == frozenset()
    with pytest.raises(InvalidValueError, match="reached for white_box"):
        StockDetector().prepare(small_view("conv_out").restricted_to(frozenset()), BENCH)
    with pytest.raises(InvalidValueError, match="prepare it"):
        StockDetector().detect(np.zeros((0, 3), np.float32))


def test_a_checkpoint_of_its_own(small_view, small_victim, tmp_path: Path) -> None:
    blind = small_view("conv_out").restricted_to(frozenset())
    checkpoints.save(small_view("conv_out").white_box(), tmp_path / "stock", is_trained=False)
    attack = StockDetector(StockDetectorConfig(checkpoint=str(tmp_path / "stock")))
    attack.prepare(blind, BENCH)
    assert attack.detect(small_victim).class_names == ("Car", "Pedestrian", "Cyclist")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        StockDetector(StockDetectorConfig(checkpoint=str(tmp_path / "none"))).prepare(blind, BENCH)
    checkpoints.save(detectors.build("second_iou", "waymo"), tmp_path / "waymo", is_trained=False)
    with pytest.raises(ConfigError, match="elongation"):
        StockDetector(StockDetectorConfig(checkpoint=str(tmp_path / "waymo"))).prepare(blind, BENCH)
