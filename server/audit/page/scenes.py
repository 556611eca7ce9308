"""Original beside reconstruction: pictures that print, and a 3D view to turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from server.audit.page.markup import Markup, joined, note, paragraph, section, tag
from server.audit.page.numbers import measure_name, part_name, shown
from server.audit.page.packed_cloud import BYTES_PER_POINT, PackedClouds, packed
from server.audit.page.pictures import image
from server.audit.page.rows import attack_rows, headline_name, strongest_attack, victims_words
from server.audit.page.source import WORDS, AuditedReport, RestoredScene
from server.audit.page.views import Panel, Stage, from_above, in_perspective

BYTES_FOR_CLOUDS: Final = 5_000_000  # of all 3D views together, before base64
MOST_POINTS: Final = 20_000  # of one cloud
MOST_OTHERS: Final = 6  # attacks of a group beside the strongest that are shown, each with one scene
RAW_SCANS: Final = (
    "This page contains raw scans: the originals in the pictures and 3D views below are scans of the victims, point by "
    "point. Store, send and delete this file as you would the scans themselves. With --no-pictures it has none of them."
)
SIMULATED_SCANS: Final = "All originals below are scans of a SIMULATED world; no real street is in this page."
LEFT_OUT: Final = "Pictures and 3D views were left out: this page contains no point of any scan."
NONE_KEPT: Final = "There are no pictures: no scans were kept beside this report."


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownScene:
    """A scene that the page shows: what which attack made of it."""

    title: str
    scene: RestoredScene


def scenes_section(audited: AuditedReport, *, with_pictures: bool = True) -> Markup:
    """The strongest attack's best, median and worst scene of each group, and the others' median scenes."""
    chosen = {group["name"]: _chosen(audited, group["name"]) for group in audited.report["victims"]}
    count = sum(map(len, chosen.values()))
    if not with_pictures or not count:
        words = NONE_KEPT if with_pictures else LEFT_OUT
        return section("scenes", "Original beside reconstruction", paragraph(words))
    most = min(MOST_POINTS, BYTES_FOR_CLOUDS // count // BYTES_PER_POINT // 2)
    warning = note(tag("strong", RAW_SCANS) if holds_real_scans(audited) else SIMULATED_SCANS)
    parts: list[object] = [warning, paragraph(_intro(audited))]
    for group in audited.report["victims"]:
        parts.append(tag("h3", victims_words(group)))
        parts += [_figure(audited, group, each, most) for each in chosen[group["name"]]]
    return section("scenes", "Original beside reconstruction", *parts)


def holds_real_scans(audited: AuditedReport) -> bool:
    """Scans of a real group of victims were kept for pictures."""
    real = {group["name"] for group in audited.report["victims"] if not group["is_simulated"]}
    return any(scene.group in real for scenes in audited.scenes.values() for scene in scenes)


def _intro(audited: AuditedReport) -> str:
    found = audited.report["attacks"][0]["groups"] if audited.report["attacks"] else {}
    estimates: Mapping[str, Any] = next((each["estimates"] for each in found.values()), {})
    name = headline_name(estimates)
    return (
        f"For each group: of the attack with the highest {measure_name(name)} ({part_name(name)}) the scene it "
        "restored most, the one in the middle and the one it restored least, as the audit ranked them; of the other "
        "attacks the one in the middle. Pictures from above have metres ahead of the sensor upwards and metres to its "
        "right sideways. Colours show height above the ground, violet low and yellow high, the same on both sides."
    )


def _chosen(audited: AuditedReport, group: str) -> list[ShownScene]:
    rows = attack_rows(audited.report, group)
    best = strongest_attack(rows)
    if best is None:
        return []
    found = [ShownScene(title=best.title, scene=each) for each in _of(audited, best.title, group, tuple(WORDS))]
    others = [row.title for row in rows if row.title != best.title]
    more = [ShownScene(title=title, scene=each) for title in others for each in _of(audited, title, group, ("middle",))]
    return [*found, *[each for each in more if len(each.scene.found)][:MOST_OTHERS]]


def _of(audited: AuditedReport, title: str, group: str, words: Sequence[str]) -> list[RestoredScene]:
    every = [scene for scene in audited.scenes.get(title, ()) if scene.group == group]
    return [scene for word in words for scene in every if scene.word == word]


def _figure(audited: AuditedReport, group: Mapping[str, Any], shown_scene: ShownScene, most: int) -> Markup:
    scene, title = shown_scene.scene, shown_scene.title
    stage = Stage.of(scene.truth, audited.report["scope"]["point_range_m"])
    kind = "SIMULATED original" if group["is_simulated"] else "original scan"
    panels = [Panel(title=kind, points=scene.truth), Panel(title=f"recovered by {title}", points=scene.found)]
    clouds = packed(scene.truth, scene.found, most)
    words = f"{title}, {WORDS[scene.word]}: {scene.scene_id}"
    above = image(from_above(panels, stage), f"{words}, {kind} and reconstruction from above")
    side = image(in_perspective(panels, stage), f"{words}, {kind} and reconstruction in perspective", kind="still")
    caption = tag(
        "figcaption", tag("strong", words), f". {_numbers(audited, group['name'], shown_scene)} {_thinned(clouds)}"
    )
    return tag("figure", caption, above, side, _view(clouds, words, stage.ground_m), class_="scene")


def _numbers(audited: AuditedReport, group: str, each: ShownScene) -> str:
    """The numbers of this scene, where the report has them."""
    attack = next(a for a in audited.report["attacks"] if a["title"] == each.title)
    numbers = attack["groups"][group]
    own: Mapping[str, Any] = next((s["numbers"] for s in numbers["scenes"] if s["scene_id"] == each.scene.scene_id), {})
    name = headline_name(numbers["estimates"])
    names = list(dict.fromkeys([name.rpartition("/")[2], name, "chamfer_m"]))
    found = [f"{measure_name(n)}, {part_name(n)}: {shown(own.get(n))}" for n in names if n in own]
    return f"{'; '.join(found)}." if found else ""


def _thinned(clouds: PackedClouds) -> str:
    whole = f"The scan has {clouds.of_truth:,} points, the reconstruction {clouds.of_found:,}"
    if not clouds.is_thinned:
        return f"{whole}; the 3D view shows all, to a centimetre."
    return (
        f"{whole}; the 3D view shows {clouds.truth:,} and {clouds.found:,} of them, drawn at random, to a centimetre."
    )


def _view(clouds: PackedClouds, words: str, ground_m: float) -> Markup:
    """Data for the viewer; the page's program makes a view of it, and without it the still picture stays."""
    return joined(
        [
            tag(
                "div",
                tag("script", Markup(clouds.data), type="text/plain"),
                class_="view3d",
                data_truth=clouds.truth,
                data_found=clouds.found,
                data_ground=f"{ground_m:.2f}",
                data_label=words,
                hidden=True,
            )
        ]
    )
