"""What the dashboard's pages do when somebody uses them: a script beside the page's own plays the person."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.responses import Response

from server.dashboard.address import Address
from server.dashboard.api import Sources
from server.dashboard.app import STATIC, make_app
from server.dashboard.detection import SceneDetector
from server.dashboard.scene_view import SceneViewer
from server.repositories.archive import SceneArchive, open_archive, open_run_log
from server.repositories.pseudonym import vehicle_tag
from shared_models import detectors
from tests.browser import needs_browser, open_page
from tests.dashboard_data import NOW_NS, make_data

pytestmark = needs_browser

BEGINNING = """
const $ = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const until = async (ready) => { while (!ready()) await new Promise((done) => setTimeout(done, 20)); };
const say = (name, value) => { document.body.dataset[name] = value; };
const change = (element, value, kind = "input") => {
  element.value = value;
  element.dispatchEvent(new Event(kind, { bubbles: true }));
};
const point = (element, x, y, kind = "pointermove") => {
  const box = element.getBoundingClientRect();
  const place = { clientX: box.left + x * box.width, clientY: box.top + y * box.height };
  element.dispatchEvent(new PointerEvent(kind, place));
};
"""
PERSONS = {
    "index": """
await until(() => $("#place").textContent);
$("#older").click();
await until(() => $("#place").textContent.startsWith("26"));
say("older", $("#place").textContent);
change($("#vehicle"), VEHICLE, "change");
await until(() => $("#place").textContent.endsWith("of 1"));
say("chosen", location.search);
""",
    "scene": """
await until(() => $("#view").dataset.drawnPixels);
change($("#threshold"), 0);
say("all", $("#view").dataset.drawnBoxes);
change($("#threshold"), 1);
say("none", $("#view").dataset.drawnBoxes);
change($("#threshold"), 0);
for (let i = 0; i < 100 * 100 && !$("#under").textContent.includes("score"); i += 1) {
  point($("#view"), (i % 100) / 100, Math.floor(i / 100) / 100);
}
say("under", $("#under").textContent);
say("rows", all("#detections tr.chosen").length);
""",
    "runs": """
await until(() => all("#runs input").length);
say("before", $("#compare").disabled);
all("#runs input")[0].click();
say("after", $("#compare").disabled);
""",
    "run": """
await until(() => all(".curve").length === 4);
const path = () => $("#scalars .curve").getAttribute("d");
const plain = path();
$("#log-scale").click();
const logarithmic = path();
$("#log-scale").click();
change($("#smoothing"), 0.9);
say("shapes", new Set([plain, logarithmic, path()]).size);
point($("#scalars svg"), 0.5, 0.5);
say("step", $("#scalars .key").textContent);
point($("#scalars svg"), 0.5, 0.5, "pointerleave");
say("last", $("#scalars .key").textContent);
change($("#level"), "hard", "change");
say("hard", $("#evaluations .key").textContent);
""",
    "compare": """
await until(() => all("#choice input").length);
say("none", all(".curve").length);
all("#choice input")[0].click();
all("#choice input")[2].click();
await until(() => all(".curve").length === 2);
say("search", location.search);
change($("#curve"), "lr", "change");
say("title", $("#chart h3").textContent);
say("colours", new Set(all(".curve").map((each) => each.getAttribute("stroke"))).size);
""",
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dashboard that serves each page a second time, as /used/NAME, with a person."""
    folder = tmp_path_factory.mktemp("dashboard")
    detector = detectors.build("second_iou", "tiny", seed=0).eval()
    make_data(folder, detector.backbone_hash)
    archive, log = open_archive(folder), open_run_log(folder)
    viewer = SceneViewer(archive, [SceneDetector(detector, "seeded weights")])
    place = Address(port=0)
    sources = Sources(catalogue=archive.catalogue, viewer=viewer, run_log=log, data=folder, now_ns=lambda: NOW_NS)
    app = make_app(sources, place)
    _add_persons(app, archive)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none"))
    with place.listen() as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()
    archive.close()
    log.close()


def _add_persons(app: FastAPI, archive: SceneArchive) -> None:
    # Its only scene came last.
    vehicle = vehicle_tag(archive.catalogue.newest(1)[0].manifest.vehicle_id)

    @app.get("/used/{name}")
    def used(name: str) -> Response:
        page = (STATIC / f"{name}.html").read_text()
        script = f'<script type="module" src="/person/{name}.js"></script></body>'
        return Response(page.replace("</body>", script), media_type="text/html")

    @app.get("/person/{name}.js")
    def person(name: str) -> Response:
        return Response(f'const VEHICLE = "{vehicle}";{BEGINNING}{PERSONS[name]}', media_type="text/javascript")


def use(address: str, page: str, profile: Path) -> dict[str, str]:
    """What the person on `page` said."""
    opened = open_page(f"{address}/used/{page}", profile)
    assert opened.console == []
    (body,) = re.findall("<body([^>]*)>", opened.document)
    return dict(re.findall(r'data-(\w+)="([^"]*)"', body))


def test_turning_pages_and_choosing_a_vehicle(address: str, tmp_path: Path) -> None:
    said = use(address, "index", tmp_path)
    assert said["older"] == "26–31 of 31"
    assert said["chosen"] == f"?vehicle={vehicle_tag('car-2')}"


def test_threshold_and_pointing_at_a_box(address: str, tmp_path: Path) -> None:
    scene_id = _newest_of_first_vehicle(address)
    said = use(address, f"scene?id={scene_id}", tmp_path)
    assert int(said["all"]) > 0
    assert said["none"] == "0"
    assert re.match(r"(Car|Pedestrian|Cyclist), score 0\.\d\d · x ", said["under"])
    assert said["rows"] == "1"


def test_choosing_runs(address: str, tmp_path: Path) -> None:
    assert use(address, "runs", tmp_path) == {"before": "true", "after": "false"}


def test_reading_a_chart(address: str, tmp_path: Path) -> None:
    said = use(address, "run?id=run-0", tmp_path)
    assert said["shapes"] == "3"
    assert "at step" in said["step"]
    assert "at step" not in said["last"]
    assert said["hard"] == "3d10"


def test_comparing(address: str, tmp_path: Path) -> None:
    said = use(address, "compare", tmp_path)
    assert said["none"] == "0"
    assert said["search"].startswith("?id=run-2&amp;id=run-0")
    assert (said["title"], said["colours"]) == ("lr", "2")


def _newest_of_first_vehicle(address: str) -> str:
    with urllib.request.urlopen(f"{address}/api/v1/scenes?offset=1&limit=1", timeout=30) as answer:
        return str(json.load(answer)["scenes"][0]["scene_id"])
