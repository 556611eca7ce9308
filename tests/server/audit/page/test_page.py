"""The whole page: valid, complete, escaped, without the network, repeatable, of a bounded size."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from server.audit.page.page import html_page, write_page
from server.audit.page.source import AuditedReport, RestoredScene, read_audited
from tests.server.audit.page.small_report import EVIL, cloud

VOID = {"meta", "img", "br", "input"}
ORDER = ("summary", "scope", "threats", "baselines", "attacks", "parts", "families", "scenes")
LAST = ("not-tested", "cost", "again")


class Checker(HTMLParser):
    """Every element is closed in order; text and attributes are kept."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        where = self.open[-1] if self.open else ""
        self.inside[where].append(data) if where in self.inside else self.text.append(data)


def parsed(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def means(report: Mapping[str, Any]) -> Iterator[float]:
    """Every mean, lower and upper end in the report."""
    every = [each["groups"] for each in report["attacks"]] + list(report["controls"].values())
    for groups in every:
        for numbers in groups.values():
            for estimate in numbers["estimates"].values():
                yield from (estimate["mean"], estimate["low"], estimate["high"])


def test_the_page_is_whole_and_in_order(page: str) -> None:
    checker = parsed(page)
    sections = [attributes["id"] for name, attributes in checker.elements if name == "section"]
    assert [name for name in sections if name in ORDER + LAST] == [*ORDER, *LAST]
    identities = [attributes["id"] for _, attributes in checker.elements if attributes.get("id")]
    assert len(identities) == len(set(identities))
    links = [attributes["href"] for name, attributes in checker.elements if name == "a"]
    assert {str(link).removeprefix("#") for link in links} == {f"{name}-heading" for name in sections}
    assert all(attributes.get("alt") for name, attributes in checker.elements if name == "img")
    tables = [name for name, _ in checker.elements if name in ("table", "caption")]
    assert tables.count("table") == tables.count("caption") > 5


def test_all_numbers_of_the_report_are_there(page: str, report: dict[str, Any]) -> None:
    text = " ".join(parsed(page).text)
    found = {float(word.replace(",", "")) for word in re.findall(r"-?\d[\d,]*\.?\d*", text)}
    for value in means(report):
        assert any(abs(value - each) <= 0.0051 for each in found), value
    for value in (77, 40, 41, 120, 600, 1000, 12.5, 3.25, 1234, 5432.1, 104626, 15824):
        assert value in found
    for words in ("ab" * 32, "cd" * 32, "ef" * 32, "01" * 32, "small-quick-0123456789", "upcycle audit --run"):
        assert words in text


def test_names_from_files_cannot_break_out(page: str) -> None:
    assert EVIL not in page
    checker = parsed(page)
    scripts = [attributes for name, attributes in checker.elements if name == "script"]
    assert [each.get("type") for each in scripts].count(None) == 1
    assert "alert" not in "".join(checker.inside["script"])
    assert sum(EVIL in words for words in checker.text) > 10


def test_nothing_is_fetched_and_only_its_own_program_may_run(page: str) -> None:
    words = re.sub(r'base64,[^"]*"|<script type="text/plain">[^<]*<', "", page)
    assert re.findall(r"https?:|//[a-z]|@import|url\(", words) == []
    checker = parsed(page)
    for _, attributes in checker.elements:
        assert (attributes.get("href") or "#").startswith("#")
        assert not set(attributes) & {"style", "onclick", "srcset", "action"}
        assert (attributes.get("src") or "data:").startswith("data:image/png;base64,"[:5])
    policy = next(a["content"] for n, a in checker.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    program = page.rsplit("<script>", 1)[1].split("</script>")[0]
    style = page.split("<style>")[1].split("</style>")[0]
    for text in (program, style):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy


def test_it_never_calls_anything_safe_and_calls_the_simulated_simulated(page: str) -> None:
    text = " ".join(parsed(page).text).casefold()
    assert not re.search(r"\bsafe|\bsecure\b|no risk|harmless", text)
    assert "SIMULATED" in page
    assert "untrained" in text
    assert "time ran out" in text


def test_raw_scans_are_announced_and_simulated_ones_are_called_so(page: str, audited: AuditedReport) -> None:
    assert "no real street is in this page" in page
    (title,) = audited.scenes
    real = tuple(replace(scene, group=EVIL) for scene in audited.scenes[title])
    other = html_page(replace(audited, scenes={title: real}))
    assert "This page contains raw scans" in other
    assert "handle this file as such" in other


def test_without_pictures_there_is_no_point_of_a_scan(audited: AuditedReport) -> None:
    page = html_page(audited, with_pictures=False)
    assert 'type="text/plain"' not in page
    assert "contains no point of any scan" in page
    assert "handle this file as such" not in page
    assert page.count("data:image") == 2  # of numbers only


def test_optional_parts_may_be_missing(report: dict[str, Any]) -> None:
    bare = {**report, "controls": {}, "threats": [], "not_tested": []}
    bare["attacks"] = [{**each, "groups": {}} for each in report["attacks"]]
    assert "No attack gives back a scan" in html_page(AuditedReport(report=bare))
    nothing = {**bare, "attacks": [], "victims": []}
    parsed(html_page(AuditedReport(report=nothing)))
    empty = report["attacks"][0]["groups"]["simulated"]["estimates"]
    for estimate in empty.values():
        estimate |= {"mean": None, "low": None, "high": None, "scenes": 0}
    parsed(html_page(AuditedReport(report=report)))


def test_the_same_report_gives_the_same_bytes(page: str, audited: AuditedReport, tmp_path: Path) -> None:
    write_page(tmp_path / "new" / "a.html", audited)
    assert (tmp_path / "new" / "a.html").read_text(encoding="utf-8") == page


def test_many_large_scenes_are_thinned_to_a_bounded_page(
    report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.audit.page.scenes.BYTES_FOR_CLOUDS", 3 * 14 * 500)
    title, group = report["attacks"][1]["title"], report["victims"][0]["name"]
    scenes = tuple(
        RestoredScene(group=group, word=word, scene_id=word, truth=cloud(1, 3000), found=cloud(2, 3000))
        for word in ("most", "middle", "least")
    )
    page = html_page(AuditedReport(report=report, scenes={title: scenes}))
    assert "shows 500 and 500 of them, drawn at random" in page
    data = re.findall(r'<script type="text/plain">([^<]*)</script>', page)
    assert [len(base64.b64decode(each)) for each in data] == [7000] * 3
    assert len(page) < 1_000_000


def test_a_page_of_several_layers(audit_folder: Callable[..., Path]) -> None:
    main, other = (read_audited(audit_folder(layer, layer)) for layer in ("conv_out", "conv1"))
    page = html_page(main, beside=[other])
    assert parsed(page)
    assert "Layers side by side" in page
