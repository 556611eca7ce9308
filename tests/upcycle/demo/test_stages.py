from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from upcycle.demo.stages import Stages


def made(stages: Stages, calls: list[str], inputs: dict[str, int], name: str = "one") -> dict[str, int]:
    def make(say) -> dict[str, int]:
        say("at work")
        calls.append(name)
        return {"calls": len(calls)}

    return stages.run(name, "Stage one", inputs, make)


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


def test_a_finished_stage_is_not_made_again_and_says_so(tmp_path: Path, output: io.StringIO) -> None:
    calls: list[str] = []
    first = Stages(tmp_path, Console(file=output))
    assert made(first, calls, {"steps": 1}) == {"calls": 1}
    second = Stages(tmp_path, Console(file=output))
    assert made(second, calls, {"steps": 1}) == {"calls": 1}
    assert calls == ["one"]
    assert [(time.is_former, time.wall_s) for time in second.times] == [(True, first.times[0].wall_s)]
    assert "made before" in output.getvalue()


def test_other_inputs_and_damaged_results_are_made_anew(tmp_path: Path, output: io.StringIO) -> None:
    calls: list[str] = []
    stages = Stages(tmp_path, Console(file=output))
    made(stages, calls, {"steps": 1})
    assert made(stages, calls, {"steps": 2}) == {"calls": 2}
    (tmp_path / "stages" / "one.json").write_text("{")
    assert made(stages, calls, {"steps": 2}) == {"calls": 3}
    assert not any(time.is_former for time in stages.times)


def test_a_stage_that_fails_leaves_nothing(tmp_path: Path, output: io.StringIO) -> None:
    def fail(say) -> dict[str, int]:
        raise ZeroDivisionError

    stages = Stages(tmp_path, Console(file=output))
    with pytest.raises(ZeroDivisionError):
        stages.run("one", "Stage one", {}, fail)
    assert not list(tmp_path.rglob("*.json"))
    assert stages.times == []


def test_processor_time_is_that_of_the_work(tmp_path: Path, output: io.StringIO) -> None:
    stages = Stages(tmp_path, Console(file=output))
    stages.run("busy", "Busy", {}, lambda say: {"sum": sum(range(2_000_000))})
    (time,) = stages.times
    assert 0 < time.cpu_s < time.wall_s + 0.5
