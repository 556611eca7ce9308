"""The end of the page: what was not tested, what it cost, and how to make it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from server.audit.page.markup import Amount, Markup, bullets, paragraph, section, table, tag
from server.audit.page.numbers import shown
from server.audit.page.source import AuditedReport


def not_tested_section(report: Mapping[str, Any]) -> Markup:
    """What this audit says nothing about."""
    return section("not-tested", "What was not tested", bullets(report["not_tested"]))


def cost_section(report: Mapping[str, Any]) -> Markup:
    """Time and steps of each attack, and of the whole."""
    heads = ["attack", "threat", "preparing, s", "attacking all scenes, s", "training steps", "stopped by time"]
    rows = [
        [
            each["title"],
            each["threat"],
            Amount(shown(each["cost"].get("preparing_s"))),
            Amount(shown(each["cost"].get("scenes_s"))),
            Amount(f"{each['cost'].get('steps', 0):,}"),
            "yes" if each["cost"].get("is_cut") else "no",
        ]
        for each in report["attacks"]
    ]
    whole = report["cost"]
    about = (
        f"The last run took {whole['seconds']:,} seconds on device {whole['device']}. "
        "Attacks that had finished in an earlier run were not made again; the table has the cost of each."
    )
    return section("cost", "Cost", paragraph(about), table("What each attack cost", heads, rows))


def again_section(audited: AuditedReport) -> Markup:
    """The command, the seed and the whole configuration."""
    report = audited.report
    command = f"upcycle audit --run config.json --{report['effort']}"
    parts: list[object] = [
        paragraph(f"With the code of the hash above and seed {report['seed']}, which the configuration holds:"),
        tag("pre", tag("code", command)),
    ]
    if audited.config is None:
        parts.append(paragraph("The configuration is not beside this report; its hash is in the scope above."))
    else:
        text = json.dumps(audited.config, indent=1, sort_keys=True, ensure_ascii=False)
        words = "config.json, from the audit's folder: the effective configuration in full"
        parts.append(tag("details", tag("summary", words), tag("pre", tag("code", text))))
    settings = [
        [each["title"], each["attack"], json.dumps(each["settings"], sort_keys=True, ensure_ascii=False)]
        for each in report["attacks"]
    ]
    parts.append(table("Settings of the attacks", ["title", "attack", "settings"], settings, kind="dense"))
    return section("again", "How to make it again", *parts)
