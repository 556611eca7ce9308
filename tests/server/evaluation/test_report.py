from __future__ import annotations

import base64
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from server.evaluation.frame_objects import evaluated_frame
from server.evaluation.kitti import evaluate_kitti
from server.evaluation.kitti_report import FrameOutcome
from server.evaluation.report import best_and_worst, html_page, write_report
from server.evaluation.waymo import WaymoReport, WaymoScore
from shared_models.datasets import open_dataset
from shared_models.datasets.kitti_detections import read_detections
from shared_models.errors import StorageError

pytest.importorskip("matplotlib")


class Page(HTMLParser):
    """What a page links to, and whether its tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open_tags: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.sources += [found["src"] or ""] if "src" in found else []
        self.links += [found["href"] or ""] if "href" in found else []
        if tag not in {"img", "meta"}:
            self.open_tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag


@pytest.fixture
def evaluated(thing, frame_of):
    cars = [thing(x=0), thing(x=10)]
    right = [replace(car, score=0.9) for car in cars]
    wrong = [thing(x=30, score=0.9)]
    return [frame_of(cars, right if n % 2 else wrong, f"{n:06d}") for n in range(8)]


def test_the_page_stands_on_its_own(evaluated) -> None:
    report = evaluate_kitti(evaluated)
    text = html_page(report, evaluated, "<detector> & data")
    page = Page(text)
    assert not page.open_tags
    assert not page.links
    assert "&lt;detector&gt; &amp; data" in text
    # Two pictures of curves, three of the best frames, three of the worst.
    assert len(page.sources) == 8
    for source in page.sources:
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert f"{report.score('Car', '3d', 'moderate').ap_all:.2f}" in text
    assert "Cyclist easy: no object counts" in text
    assert re.findall(r"<figcaption>(\d+): (\d) found, (\d) missed, (\d) false", text) == [
        *((f"{n:06d}", "2", "0", "0") for n in (1, 3, 5)),
        *((f"{n:06d}", "0", "2", "1") for n in (0, 2, 4)),
    ]


def test_waymos_table(evaluated) -> None:
    scores = (
        WaymoScore(class_name="<Car>", level="level_1", objects=12, ap=61.257, aph=60.1),
        WaymoScore(class_name="<Car>", level="level_2", objects=0, ap=math.nan, aph=math.nan),
    )
    report = evaluate_kitti(evaluated)
    text = html_page(report, evaluated, "title", waymo=WaymoReport(scores=scores))
    assert not Page(text).open_tags
    assert "<td>&lt;Car&gt;</td><td>LEVEL_1</td><td>12</td><td>61.26</td><td>60.10</td>" in text
    assert "<td>LEVEL_2</td><td>0</td><td>–</td><td>–</td>" in text
    assert "Waymo" not in html_page(report, evaluated, "title")


def test_frames_are_drawn_with_their_points(make_kitti, tmp_path: Path) -> None:
    dataset = open_dataset("kitti", make_kitti(), "training")
    text = "Car -1 -1 -1.57 562 180 678 270 1.6 2.0 4.0 0.0 1.6 12.0 -1.57 0.9\n"
    (tmp_path / "found.txt").write_text(text)
    frames = [evaluated_frame(f, read_detections(tmp_path / "found.txt", f.camera)) for f in dataset]
    asked = []

    def frame_of(name):
        asked.append(name)
        return dataset.frame(name)

    report = evaluate_kitti(frames)
    write_report(tmp_path / "new" / "page.html", report, frames, "title", frame_of)
    assert sorted(asked) == ["training-000000", "training-000001"]
    assert (tmp_path / "new" / "page.html").read_text().startswith("<!doctype html>")


def test_a_page_about_nothing(frame_of) -> None:
    frames = [frame_of([], [])]
    assert "Best frames" in html_page(evaluate_kitti(frames), frames, "empty")


def test_a_page_that_cannot_be_written_is_an_error(frame_of, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    frames = [frame_of([], [])]
    with pytest.raises(StorageError, match="cannot be written"):
        write_report(tmp_path / "file" / "page.html", evaluate_kitti(frames), frames, "title")


def test_best_and_worst() -> None:
    def outcome(name: str, found: int, missed: int, false: int) -> FrameOutcome:
        return FrameOutcome(frame_id=name, found=found, missed=missed, false_alarms=false)

    outcomes = [
        outcome("empty", 0, 0, 0),
        outcome("one", 1, 0, 0),
        outcome("many", 9, 0, 0),
        outcome("bad", 0, 1, 0),
        outcome("worse", 0, 5, 2),
        outcome("half", 1, 1, 1),
    ]
    best, worst = best_and_worst(outcomes, 2)
    assert [o.frame_id for o in best] == ["many", "one"]
    assert [o.frame_id for o in worst] == ["worse", "bad"]
    best, worst = best_and_worst(outcomes[1:2])
    assert ([o.frame_id for o in best], worst) == (["one"], [])
