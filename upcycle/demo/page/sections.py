"""The page's sections: what happened, the fleet, the training, what it took."""

from __future__ import annotations

import shlex
from html import escape
from typing import Any

from upcycle.demo.page.curves import drawing
from upcycle.demo.page.markup import (
    Numbers,
    card,
    hundredth,
    kilobytes,
    megabytes,
    seconds,
    small,
    table,
    whole,
)
from upcycle.demo.page.scores import score_cards, short_verdict

LABELS = {"after": "UpCycling", "control": "control, without the uploads"}


def overview(results: dict[str, Any]) -> str:
    """What happened in a few sentences and large numbers."""
    n, config = Numbers(results), results["config"]
    codec = config["codec"]
    cards = [
        card(n.show(whole, "fleet", "frames_sent"), "scans that the vehicles drove past"),
        card(n.show(kilobytes, "fleet", "bytes_per_frame", codec), f"uploaded for each, as {codec} features"),
        card(n.show(kilobytes, "fleet", "raw_bytes_per_frame"), "has the raw scan, which stayed on the vehicle"),
        *score_cards(results),
        card(n.show(seconds, "total", "wall_s"), "for everything on this page"),
    ]
    return f"""
<p>A detector learned from labelled scans of one simulated city ({_place(config["source"])}).
{n.show(whole, "fleet", "vehicles")} vehicles took it to another one ({_place(config["target"])}), where cars have other
sizes and streets other shapes. They sent the features that the detector computes anyway, no scans, to a server process
over gRPC. The server learned from them for {n.show(whole, "learning", "after", "steps")} steps.
{short_verdict(results)}
The same uploads were then attacked, to see what they give away.</p>
<div class="cards">{"".join(cards)}</div>"""


def fleet(results: dict[str, Any]) -> str:
    """Who drove, what travelled, and whether anything was lost."""
    n, found = Numbers(results), results["fleet"]
    vehicles = [
        (
            escape(driver["vehicle_id"]),
            n.show(whole, "fleet", "drivers", place, "scans"),
            n.show(megabytes, "fleet", "drivers", place, "raw_bytes"),
            n.show(megabytes, "fleet", "drivers", place, "payload_bytes", driver["codec"]),
        )
        for place, driver in enumerate(found["drivers"])
    ]
    rows = [
        (
            escape(name),
            n.show(kilobytes, "fleet", "bytes_per_frame", name),
            n.show(hundredth, "fleet", "share_of_raw", name),
            n.show(whole, "fleet", "codecs", name, "vehicle_detections"),
            n.show(whole, "fleet", "codecs", name, "server_detections"),
            n.show(whole, "fleet", "codecs", name, "unmatched"),
            n.show(small, "fleet", "codecs", name, "max_abs_diff"),
        )
        for name in found["codecs"]
    ]
    codec = results["config"]["codec"]
    vehicle_heads = ("vehicle", "scans", "raw points, kept", f"features as {codec}, sent")
    heads = (
        "codec",
        "a scan",
        "of the raw scan",
        "boxes, vehicles",
        "boxes, server",
        "unmatched",
        "largest difference",
    )
    return f"""
<h2>1. The fleet drives and uploads</h2>
{_transport_verdict(results)}
{table(vehicle_heads, vehicles)}
<p>Every scan was sent twice: as {
        escape(codec)
    }, which the server learns from, and as float32, only to compare what both
sides detect. A raw scan has {n.show(kilobytes, "fleet", "raw_bytes_per_frame")} (four float32 numbers
a point, near and far); features are of what lies in the detector's range.</p>
{
        table(
            heads,
            rows,
            "Detections of the vehicles beside those that the server makes of the stored bytes; the difference "
            "is the largest in any metre, radian or score of a matched pair.",
        )
    }"""


def _transport_verdict(results: dict[str, Any]) -> str:
    n, found = Numbers(results), results["fleet"]
    if found["problems"]:
        return f'<p class="problem">{"; ".join(escape(problem) for problem in found["problems"])}</p>'
    stored, sent = n.show(whole, "fleet", "scenes_stored"), n.show(whole, "fleet", "scenes_sent")
    exact = "float32" in found["codecs"] and found["guard"] == "none"
    more = " From float32 the server sees exactly what the vehicles saw, to the last bit." if exact else ""
    return f'<p class="good">Nothing was lost: {stored} of {sent} scenes are stored.{more}</p>'


def training(results: dict[str, Any]) -> str:
    """Curves of the trainings."""
    n, learnt = Numbers(results), results["learning"]
    losses = {"pre-training": results["pretraining"]["curves"]["loss/total"]}
    losses |= {LABELS[name]: each["curves"]["loss/total"] for name, each in learnt.items()}
    before = dict.fromkeys((LABELS[name] for name in learnt), results["pretraining"]["steps"])
    pseudo = {
        "pseudo boxes": learnt["after"]["curves"].get("pseudo/boxes", []),
        "pasted objects": learnt["after"]["curves"].get("pseudo/pasted", []),
    }
    batch = n.show(whole, "pretraining", "batch_size")
    return f"""
<h2>2. The trainings</h2>
<p>Pre-training: {n.show(whole, "pretraining", "steps")} steps of {batch} labelled scans of the source city. Then
{n.show(whole, "learning", "after", "steps")} steps of UpCycling: as many labelled scans, and for each of them
{n.show(whole, "config", "unlabelled_ratio")} stored scene of the fleet, without labels; the vehicles' part of the
network stays as it is, bit for bit, so that stored features stay valid.{_about_control(results)}
In all trainings labelled objects are resized to the target city's mean sizes, which are taken as known
(statistical normalisation).</p>
{drawing(losses, "loss", starts_at=before)}
<p>The losses of UpCycling and of its control contain the unlabelled scenes' as well: they do not compare with those of
the pre-training.</p>
<h3>What the teacher finds in a stored scene</h3>
{drawing(pseudo, "a scene")}
<p>Pseudo boxes are the teacher's own sure ones; pasted objects come from labelled scans, with exact boxes.</p>"""


def _about_control(results: dict[str, Any]) -> str:
    if "control" not in results["learning"]:
        return ""
    steps = Numbers(results).show(whole, "learning", "control", "steps")
    return (
        f" The control is the same training, {steps} steps, with unlabelled scans of the source city in the "
        "place of the fleet's: what it reaches, the uploads did not bring."
    )


def times(results: dict[str, Any]) -> str:
    """What each stage took, on what, and how to repeat it."""
    n, machine = Numbers(results), results["machine"]
    rows = [
        (
            escape(stage["title"]) + (" (made by an earlier call)" if stage["is_former"] else ""),
            n.show(seconds, "stages", place, "wall_s"),
            n.show(seconds, "stages", place, "cpu_s"),
        )
        for place, stage in enumerate(results["stages"])
    ]
    rows.append(("together", n.show(seconds, "total", "wall_s"), n.show(seconds, "total", "cpu_s")))
    commands = [results["pretraining"]["command"], *(each["command"] for each in results["learning"].values())]
    commands.append(results["audit"]["command"])
    lines = "\n".join(escape(shlex.join(command)) for command in commands)
    return f"""
<h2>5. What it took</h2>
{table(("stage", "on the clock", "of processors"), rows)}
<p>{n.show(whole, "machine", "cores")} processor cores ({escape(machine["processor"])}), Python
{escape(machine["python"])}, seed {n.show(whole, "config", "seed")}. All numbers are in
the JSON file beside this page.</p>
<details><summary>Commands that make the trainings and the audit again (with --keep)</summary>
<pre>{lines}</pre></details>"""


def _place(dataset: str) -> str:
    """domain and sensor of a simulated dataset, in words."""
    settings = dict(part.partition("=")[::2] for part in dataset.split(",")[1:])
    return escape(f"domain {settings.get('domain', 'germany')}, sensor {settings.get('sensor', 'kitti')}")
