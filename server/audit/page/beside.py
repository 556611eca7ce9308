"""The same scene from several layers side by side, as in figures 1 to 3 of the paper's supplement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from server.audit.page.markup import Markup, joined, paragraph, section, table, tag
from server.audit.page.numbers import CEILING, FLOOR, cell, measure_name, part_name
from server.audit.page.pictures import image
from server.audit.page.rows import Row, attack_rows, control_rows, headline_name, victims_words
from server.audit.page.scenes import LEFT_OUT
from server.audit.page.source import AuditedReport, RestoredScene
from server.audit.page.views import Panel, Stage, from_above, in_perspective
from shared_models.backbones.cut_geometry import LAYERS
from shared_models.errors import ConfigError

PAPER: Final = {"conv1": "layer 1", "conv3": "layer 3", "conv_out": "layer 5"}  # as the paper counts them
ALWAYS: Final = "first"  # the word of the scene that an audit keeps of every attack
MOST_SCENES: Final = 3
ABOUT: Final = (
    "The paper (UpCycling, ICCV 2023, supplement A.4) shows what its decoder makes of layers 1, 3 and 5; only the last "
    "is uploaded. The same is shown here: the original, then the reconstruction from each layer that was audited."
)


def beside_section(reports: Sequence[AuditedReport], *, with_pictures: bool = True) -> Markup:
    """Numbers and pictures of each attack that all reports have, the shallowest layer first.

    Raises:
        ConfigError: the reports are of different victims or have no attack in common.
    """
    ordered = sorted(reports, key=lambda each: LAYERS.index(each.layer) if each.layer in LAYERS else len(LAYERS))
    titles = _common_titles(ordered)
    groups = [group for group in ordered[-1].report["victims"] if _is_everywhere(group["name"], ordered)]
    if not titles or not groups:
        raise ConfigError("--beside: the reports have no attack, or no group of victims, of the same name in common")
    parts: list[object] = [paragraph(ABOUT)]
    for group in groups:
        parts += [_numbers(group, title, ordered) for title in titles]
        if with_pictures:
            parts += [_figures(group, title, ordered) for title in titles]
    return section("layers", "Layers side by side", *parts, "" if with_pictures else paragraph(LEFT_OUT))


def layer_name(report: AuditedReport, others: Sequence[AuditedReport]) -> str:
    """A report's layer, in the paper's words where it has some, and what else tells it from the others."""
    name = f"{PAPER[report.layer]} ({report.layer})" if report.layer in PAPER else report.layer
    scope = report.report["scope"]
    for key in ("guard", "codec"):
        if len({each.report["scope"][key] for each in others}) > 1:
            name += f", {key} {scope[key]}"
    return name


def _common_titles(reports: Sequence[AuditedReport]) -> list[str]:
    """Attacks that every report has and that train something: a list of cells says little about layers."""
    first = reports[0].report["victims"][0]["name"] if reports[0].report["victims"] else ""
    rows = attack_rows(reports[0].report, first, is_trivial=False) or attack_rows(reports[0].report, first)
    every = [{attack["title"] for attack in each.report["attacks"]} for each in reports]
    return [row.title for row in rows if all(row.title in titles for titles in every)]


def _is_everywhere(group: str, reports: Sequence[AuditedReport]) -> bool:
    return all(group in {each["name"] for each in report.report["victims"]} for report in reports)


def _numbers(group: Mapping[str, Any], title: str, reports: Sequence[AuditedReport]) -> Markup:
    lines: list[tuple[str, Row]] = []
    for report in reports:
        found = [row for row in attack_rows(report.report, group["name"]) if row.title == title]
        lines += [(layer_name(report, reports), row) for row in found]
    last = reports[-1].report
    floors, ceilings = (
        [(row.title, row) for row in control_rows(last, group["name"], kind)] for kind in (FLOOR, CEILING)
    )
    name = headline_name(lines[0][1].estimates)
    names = [name.rpartition("/")[2], name, "chamfer_m", "hausdorff_95_m", "psnr_d1_db", "voxel_iou_0.2m"]
    names = [n for n in dict.fromkeys(names) if any(n in row.estimates for _, row in lines)]
    heads = ["what", *(f"{measure_name(n)} ({part_name(n)})" for n in names)]
    rows = [[label, *(cell(row.estimates.get(n)) for n in names)] for label, row in (*floors, *lines, *ceilings)]
    return table(f"{title} from each layer. {victims_words(group)}", heads, rows)


def _figures(group: Mapping[str, Any], title: str, reports: Sequence[AuditedReport]) -> Markup:
    """A figure for each scene that all reports kept."""
    every = _same_scenes(group["name"], title, reports)
    if not every:
        return paragraph(f"No picture for {title}, {group['name']}: the reports kept no scene in common.")
    return joined(_figure(group, title, reports, scenes) for scenes in every)


def _figure(
    group: Mapping[str, Any], title: str, reports: Sequence[AuditedReport], scenes: Sequence[RestoredScene]
) -> Markup:
    """One scene: the original, then what each report has."""
    truth = scenes[-1].truth
    stage = Stage.of(truth, reports[-1].report["scope"]["point_range_m"])
    kind = "SIMULATED original" if group["is_simulated"] else "original"
    names = [layer_name(report, reports) for report in reports]
    panels = [Panel(title=kind, points=truth)]
    panels += [Panel(title=name, points=scene.found) for name, scene in zip(names, scenes, strict=True)]
    words = f"{title}, {scenes[-1].scene_id}: {kind}, {', '.join(names)}"
    pictures = [
        image(from_above(panels, stage), f"{words}, from above"),
        image(in_perspective(panels, stage), f"{words}, in perspective"),
    ]
    return tag("figure", *pictures, tag("figcaption", words), class_="scene")


def _same_scenes(group: str, title: str, reports: Sequence[AuditedReport]) -> list[list[RestoredScene]]:
    """At most `MOST_SCENES` scenes that every report kept for this attack; those that every audit keeps come first."""
    kept = [{scene.scene_id: scene for scene in each.scenes.get(title, ()) if scene.group == group} for each in reports]
    common = [scene_id for scene_id in kept[-1] if all(scene_id in each for each in kept)]
    common.sort(key=lambda scene_id: kept[-1][scene_id].word != ALWAYS)
    return [[each[scene_id] for each in kept] for scene_id in common[:MOST_SCENES]]
