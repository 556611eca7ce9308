from __future__ import annotations

import pytest
import torch

from server.repositories.pseudonym import vehicle_tag
from server.training import pseudo_telemetry as module
from server.training.processes import Processes
from server.training.pseudo_telemetry import MOST_VEHICLES, PseudoCounts, PseudoTelemetry

CPU = torch.device("cpu")
SCENE = PseudoCounts(boxes=4, ignored=1, pasted=2, score=2.0, found=3, wrong=1, missed=2, compared=4, shared=3)


def test_means_worked_by_hand() -> None:
    telemetry = PseudoTelemetry(Processes(), CPU, every=10)
    telemetry.add(SCENE)
    telemetry.add(PseudoCounts(without=1, missed=1))
    assert telemetry.numbers(1) == {
        "pseudo/boxes": 2.0,
        "pseudo/ignored": 0.5,
        "pseudo/scenes_without": 0.5,
        "pseudo/pasted": 1.0,
        "pseudo/share_pasted": 2 / 6,
        "pseudo/score": 0.5,
        "pseudo/precision": 3 / 4,
        "pseudo/recall": 3 / 6,
        "teacher/agreement": 3 / 4,
    }


def test_what_there_is_no_mean_of_is_left_out() -> None:
    telemetry = PseudoTelemetry(Processes(), CPU, every=10)
    assert telemetry.numbers(1) == {}
    telemetry.add(PseudoCounts())
    assert set(telemetry.numbers(2)) == {"pseudo/boxes", "pseudo/ignored", "pseudo/scenes_without", "pseudo/pasted"}


def test_numbers_begin_anew_after_they_were_logged() -> None:
    telemetry = PseudoTelemetry(Processes(), CPU, every=2)
    telemetry.add(PseudoCounts(boxes=2))
    assert telemetry.numbers(1)["pseudo/boxes"] == 2
    telemetry.add(PseudoCounts(boxes=6))
    assert telemetry.numbers(2)["pseudo/boxes"] == 4  # steps 1 and 2, which is what the logged number stands for
    telemetry.add(PseudoCounts(boxes=9))
    assert telemetry.numbers(3)["pseudo/boxes"] == 9


def test_vehicles_have_numbers_of_their_own_the_smaller_ones_together() -> None:
    vehicles = [f"car-{n}" for n in range(MOST_VEHICLES + 3) for _ in range(100 - n)]
    telemetry = PseudoTelemetry(Processes(), CPU, 10, vehicles)
    for number in range(MOST_VEHICLES + 3):
        telemetry.add(PseudoCounts(boxes=number), f"car-{number}")
    numbers = telemetry.numbers(1)
    boxes = {name.split("/")[2]: value for name, value in numbers.items() if name.startswith("pseudo/boxes/")}
    expected = {vehicle_tag(f"car-{n}"): float(n) for n in range(MOST_VEHICLES)} | {"others": 21.0}
    assert boxes == expected
    assert numbers["pseudo/boxes"] == pytest.approx(sum(range(23)) / 23)
    assert not any("car-" in name for name in numbers)


def test_processes_are_summed(monkeypatch) -> None:
    class Two(Processes):
        def summed(self, values, device):
            return [2 * value for value in values]

    telemetry = PseudoTelemetry(Two(count=2), CPU, 10, ("a",))
    telemetry.add(SCENE, "a")
    sums = module._counts(telemetry._sums[0])
    assert (sums.scenes, sums.boxes) == (1, 4)
    assert telemetry.numbers(1)["pseudo/boxes"] == 4  # a mean stays one
