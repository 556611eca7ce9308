"""The page as a whole."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from server.audit.page.attack_tables import attacks_section, baselines_section, every_measure_section, parts_section
from server.audit.page.beside import beside_section
from server.audit.page.closing import again_section, cost_section, not_tested_section
from server.audit.page.curve import curve_section
from server.audit.page.families import families_section
from server.audit.page.markup import Markup, joined, tag
from server.audit.page.scenes import holds_real_scans, scenes_section
from server.audit.page.source import AuditedReport
from server.audit.page.summary import summary_section
from server.audit.page.threats import scope_section, threat_section
from server.training.atomic_files import write_whole

TITLE = "Privacy audit"


def write_page(
    path: Path,
    audited: AuditedReport,
    *,
    curve: Any = None,
    beside: Sequence[AuditedReport] = (),
    with_pictures: bool = True,
) -> None:
    """Write the page; it is there whole or not at all.

    curve: leakage against detection quality, as read from JSON. beside: reports of the same scenes at other layers.
    with_pictures: False leaves out every point of every scan.

    Raises:
        ConfigError: the curve has another form, or the reports beside do not fit.
        MissingDependencyError: matplotlib is not installed.
        StorageFullError, StorageError: the file cannot be written.
    """
    write_whole(path, html_page(audited, curve=curve, beside=beside, with_pictures=with_pictures).encode())


def html_page(
    audited: AuditedReport, *, curve: Any = None, beside: Sequence[AuditedReport] = (), with_pictures: bool = True
) -> str:
    """The page as text; arguments as in `write_page`. The same arguments give the same text."""
    report = audited.report
    title = f"{TITLE}: {report['name']}"
    sections: list[Markup | str] = [
        summary_section(report),
        scope_section(report),
        threat_section(report),
        baselines_section(report),
        attacks_section(report),
        parts_section(report),
        families_section(report),
        curve_section(curve) if curve is not None else "",
        scenes_section(audited, with_pictures=with_pictures),
        beside_section([audited, *beside], with_pictures=with_pictures) if beside else "",
        not_tested_section(report),
        cost_section(report),
        again_section(audited),
        every_measure_section(report),
    ]
    has_scans = with_pictures and any(map(holds_real_scans, [audited, *beside]))
    main = tag("main", *sections)
    body = joined([tag("header", tag("h1", title), _about(audited, has_scans)), _contents(main), main])
    script = tag("script", Markup(_own("viewer.js")))
    return f'<!doctype html>\n<html lang="en">\n{_head(title)}\n<body>\n{body}\n{script}\n</body>\n</html>\n'


def _about(audited: AuditedReport, has_scans: bool) -> Markup:
    scope = audited.report["scope"]
    words = f"{scope['detector']}, layer {scope['split_layer']}, codec {scope['codec']}, guard {scope['guard']}"
    handled = tag("p", "Contains raw scans of real streets: handle this file as such.", class_="handle")
    return joined([tag("p", words), handled if has_scans else ""])


def _contents(main: Markup) -> Markup:
    """Links to the sections, by their headings."""
    found = re.findall(r'<h2 id="([a-z-]+)">(.*?)</h2>', main)
    links = [tag("li", tag("a", Markup(heading), href=f"#{identity}")) for identity, heading in found]
    return tag("nav", tag("ul", *links), aria_label="Contents")


def _head(title: str) -> Markup:
    """Nothing but the page's own style and program may run, and nothing is fetched."""
    style = _own("page.css")
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{_digest(style)}'; "
        f"script-src 'sha256-{_digest(_own('viewer.js'))}'"
    )
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(style)),
    )


def _own(name: str) -> str:
    return files("server.audit.page").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
