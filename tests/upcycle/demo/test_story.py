"""The whole demonstration, very small, with its real processes; the page has all parts, and the JSON's numbers."""

from __future__ import annotations

import io
import json
import re
from copy import deepcopy
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from server.audit.audit_config import load_audit
from server.evaluation.bootstrap import BootstrapConfig, bootstrap
from server.evaluation.run_evaluation import RunEvaluationConfig, evaluate_run
from server.training.source_config import SourceConfig
from server.training.sources import open_source
from shared_models.checkpoints import open_checkpoint
from tests.small_demo import small_config
from upcycle.demo import auditing
from upcycle.demo.page.document import html_page, write_page
from upcycle.demo.story import Story

HEADINGS = (
    "SIMULATED",
    "1. The fleet drives and uploads",
    "2. The trainings",
    "3. AP before and after",
    "before and after",
    "4. What the uploads give away",
    "Not tested:",
    "5. What it took",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def told(folder: Path) -> tuple[dict[str, Any], str]:
    """The results as they are read back from the JSON, and the page."""
    results = Story(small_config(), folder, Console(file=io.StringIO())).tell()
    write_page(folder / "demo.html", results)
    return json.loads(json.dumps(results)), (folder / "demo.html").read_text()


def numbers_in(page: str) -> list[tuple[list[str], str, str]]:
    """Path, value and text of each number on the page."""
    found = re.findall(r'<data value="([^"]*)" data-path="([^"]*)">([^<]*)</data>', page)
    return [(unescape(path).split("|"), unescape(value), text) for value, path, text in found]


def at(results: Any, path: list[str]) -> Any:
    for step in path:
        results = results[int(step)] if isinstance(results, list) else results[step]
    return results


def test_the_page_has_all_parts_and_needs_nothing_else(told: tuple[dict[str, Any], str]) -> None:
    _, page = told
    missing = [words for words in HEADINGS if words not in page]  # no comparison of whole pages
    assert missing == []
    own = re.sub(r"<iframe.*?</iframe>", "", page, flags=re.S)
    assert own.count("<svg") == 3
    assert own.count("data:image/png;base64,") >= 2
    assert all(source.startswith("data:") for source in re.findall(r'(?:src|href)="([^"]*)', own))
    assert re.findall(r"https?:", re.sub(r"data:[^\"]*", "", own)) == []


def test_numbers_on_the_page_are_those_in_the_json(told: tuple[dict[str, Any], str]) -> None:
    results, page = told
    shown = numbers_in(page)
    assert len(shown) > 100
    for path, value, text in shown:
        number = at(results, path)
        assert value == repr(number), path
        assert text not in ("", "nan")
    sections = {path[0] for path, _, _ in shown}
    assert {"fleet", "precision", "audit", "stages", "total", "learning", "pretraining"} <= sections


def test_nothing_was_lost_and_what_was_sent_was_audited(told: tuple[dict[str, Any], str]) -> None:
    results, _ = told
    fleet, audit = results["fleet"], results["audit"]
    assert fleet["problems"] == []
    assert (fleet["frames_sent"], fleet["scenes_stored"]) == (3, 6)
    assert fleet["detections_max_abs_diff"]["float32"] == 0.0
    assert (audit["audited_payloads"], audit["identical_payloads"]) == (2, 2)
    assert audit["report"]["scope"]["backbone_hash"] == fleet["backbone_hash"]


def test_learning_keeps_the_vehicles_part(told: tuple[dict[str, Any], str]) -> None:
    results, _ = told
    after = open_checkpoint(Path(results["learning"]["after"]["checkpoint"]))
    assert after.backbone_hash == results["fleet"]["backbone_hash"]
    assert results["learning"]["after"]["curves"]["loss/total"][-1][0] == results["config"]["adaptation_steps"]


def test_precision_and_ranges_are_those_of_the_evaluation(told: tuple[dict[str, Any], str], folder: Path) -> None:
    results, _ = told
    config = small_config()
    source = open_source(SourceConfig(dataset=config.held_out))
    for word, checkpoint in (
        ("before", results["pretraining"]["checkpoint"]),
        ("after", results["learning"]["after"]["checkpoint"]),
    ):
        detector = open_checkpoint(Path(checkpoint))
        evaluation = evaluate_run(detector, source.dataset, source.frame_ids, {}, RunEvaluationConfig())
        drawn = bootstrap(evaluation.frames, evaluation.rules, BootstrapConfig(rounds=config.rounds))
        found = evaluation.numbers()
        kept = {name: interval["value"] for name, interval in results["precision"][word].items()}
        known = {name: value for name, value in kept.items() if value is not None}
        assert known == pytest.approx({name: found[name] for name in known}, abs=1e-9)
        assert known
        for name in known:
            own = results["precision"][word][name]
            assert (own["low"], own["high"]) == pytest.approx((drawn[name].low, drawn[name].high), abs=1e-9)
        assert not {name for name, value in kept.items() if value is None} & found.keys()


def test_the_same_folder_is_not_made_again(told: tuple[dict[str, Any], str], folder: Path) -> None:
    results, page = told
    again = Story(small_config(), folder, Console(file=io.StringIO())).tell()
    assert all(stage["is_former"] for stage in again["stages"])
    assert again["precision"] == results["precision"]
    assert page.count("made by an earlier call") == 0
    assert html_page(again).count("made by an earlier call") == len(again["stages"])


def test_payloads_that_nobody_stored_are_not_called_identical(told: tuple[dict[str, Any], str], folder: Path) -> None:
    audit = load_audit(folder / "audit" / "audit.json")
    other = replace(audit, upload=replace(audit.upload, codec="int8"))
    assert auditing._identical(other, folder / "audit", folder / "fleet" / "server") == (2, 0)


def test_control_and_problems_are_shown(told: tuple[dict[str, Any], str]) -> None:
    results = deepcopy(told[0])
    results["learning"]["control"] = results["learning"]["after"]
    results["precision"]["control"] = results["precision"]["after"]
    results["precision"]["gain_over_control"] = results["precision"]["gain"]
    results["fleet"]["problems"] = ["3 frames <were> lost"]
    page = html_page(results)
    words = ("after − control", "3 frames &lt;were&gt; lost", "Nothing was lost")
    assert [word in page for word in words] == [True, True, False]
    assert [word in told[1] for word in words] == [False, False, True]
