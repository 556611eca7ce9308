"""`upcycle server delete | export | verify-log`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.data_options import (
    DEFAULT_DATA,
    CatalogueOption,
    DataOption,
    EndpointOption,
    JsonOption,
    PayloadsOption,
    use_stores,
)
from shared_models.errors import InvalidValueError

if TYPE_CHECKING:
    from server.records.deletion import Plan
    from server.records.verification import Verdict
    from server.repositories.archive import SceneArchive
    from server.repositories.repository import SceneFilter

VehicleOption = Annotated[
    str, typer.Option(metavar="NAME", help="A vehicle: its plain name, or a tag as in `upcycle server ls`.")
]
_TIME = "ISO date or time, UTC unless it says otherwise"


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file under `app`."""
    app.command()(delete)
    app.command()(export)
    app.command(name="verify-log")(verify_log)


def delete(
    data: DataOption = DEFAULT_DATA,
    vehicle: VehicleOption = "",
    taken_from: Annotated[str, typer.Option(metavar="TIME", help=f"Scans taken then or later; {_TIME}.")] = "",
    taken_until: Annotated[str, typer.Option(metavar="TIME", help="Scans taken before that.")] = "",
    stored_from: Annotated[str, typer.Option(metavar="TIME", help="Scenes stored then or later.")] = "",
    stored_until: Annotated[str, typer.Option(metavar="TIME", help="Scenes stored before that.")] = "",
    region: Annotated[str, typer.Option(metavar="NAME", help="Scans taken in this region.")] = "",
    guard: Annotated[
        str, typer.Option(help="Scenes that went through exactly this guard on the vehicle; none: through no guard.")
    ] = "",
    scene: Annotated[list[str] | None, typer.Option(metavar="ID", help="Scene id, or its beginning; repeats.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    refuse_again: Annotated[
        bool, typer.Option("--refuse-again", help="Do not take these scenes again when a vehicle sends them again.")
    ] = False,
    as_json: JsonOption = False,
    catalogue: CatalogueOption = "",
    payloads: PayloadsOption = "",
    s3_endpoint: EndpointOption = "",
) -> None:
    """Delete stored scenes: all that fit every option given. Also while a server runs on the folder."""
    from server.records import deletion
    from server.repositories.removal import Removal

    use_stores(catalogue, payloads, s3_endpoint)
    bounds = {"taken_from_ns": taken_from, "taken_until_ns": taken_until,
              "stored_from_ns": stored_from, "stored_until_ns": stored_until}  # fmt: skip
    is_filtered = bool(vehicle or region or guard or any(bounds.values()))
    if is_filtered == bool(scene):
        raise InvalidValueError(
            "delete: give --scene, or else some of --vehicle, --region, --guard, --taken-*, --stored-*"
        )
    with _opened(data, is_writing=not dry_run) as archive:
        where = None if scene else _filter(archive, data, vehicle, region, guard, bounds)
        plan = deletion.plan_where(archive, where) if where else deletion.plan_scenes(archive, scene or ())
        _warn_without_runs(data)
        _print_plan(plan, as_json, dry_run)
        if dry_run or not _is_meant(plan, yes):
            return
        left_over = deletion.remove_left_over(archive)
        deleted = deletion.delete(archive, plan, Removal(is_refused_again=refuse_again))
        arrived = archive.catalogue.counts(where).scenes if where else 0
    shown = {**asdict(deleted), "left_over": left_over, "arrived_meanwhile": arrived}
    _print_deleted({**shown, "affected": _affected(data, plan.scene_ids)}, as_json)


def export(
    vehicle: VehicleOption,
    out: Annotated[Path, typer.Option(help="Folder to write; empty or not there yet.")],
    data: DataOption = DEFAULT_DATA,
    with_payloads: Annotated[bool, typer.Option("--with-payloads", help="The features, too.")] = False,
    as_json: JsonOption = False,
    catalogue: CatalogueOption = "",
    payloads: PayloadsOption = "",
    s3_endpoint: EndpointOption = "",
) -> None:
    """Write everything that is held about a vehicle into a folder."""
    from server.records.export import Request, export_vehicle
    from server.records.vehicle_names import known_pseudonyms, names_held, possible_names
    from server.repositories.access_log import local_actor

    use_stores(catalogue, payloads, s3_endpoint)
    with _opened(data, is_writing=True) as archive:
        _warn_without_runs(data)
        pseudonyms = known_pseudonyms(data)
        possible = possible_names(vehicle, pseudonyms)
        request = Request(
            stored=names_held(archive.catalogue, vehicle, pseudonyms), possible=possible, with_payloads=with_payloads
        )
        exported = export_vehicle(archive, data, request, out, local_actor(), time.time_ns())
    if as_json:
        print(json.dumps(asdict(exported)))
        return
    print(
        f"{out}: {exported.scenes} scenes, {exported.payloads} payloads of {exported.payload_bytes:,} bytes, "
        f"{exported.entries} entries of the log, {exported.affected} checkpoints and saved states"
    )


def verify_log(
    data: DataOption = DEFAULT_DATA,
    expect_head: Annotated[
        str, typer.Option(metavar="SHA", help="A head that was printed before: that entry must still be there.")
    ] = "",
    as_json: JsonOption = False,
    catalogue: CatalogueOption = "",
    payloads: PayloadsOption = "",
    s3_endpoint: EndpointOption = "",
) -> None:
    """Check the log of access, and that it agrees with what is stored; ends with 1 where something is wrong."""
    from server.records.verification import verify
    from shared_models.records import check

    if expect_head:
        check.sha256_hex("verify-log", "--expect-head", expect_head)  # half a hash would look like a log that was cut
    use_stores(catalogue, payloads, s3_endpoint)
    with _opened(data) as archive:
        verdict = verify(archive, expect_head)
    if as_json:
        print(json.dumps({**asdict(verdict), "is_sound": verdict.is_sound}))
    else:
        _print_verdict(verdict, expect_head)
    if not verdict.is_sound:
        raise typer.Exit(1)


def _filter(
    archive: SceneArchive, data: Path, vehicle: str, region: str, guard: str, bounds: dict[str, str]
) -> SceneFilter:
    from server.records.times import parse_time_ns
    from server.records.vehicle_names import known_pseudonyms, stored_names
    from server.repositories.repository import SceneFilter
    from shared_models import guards

    times: dict[str, Any] = {name: parse_time_ns(text) for name, text in bounds.items() if text}
    return SceneFilter(
        vehicle_ids=stored_names(archive.catalogue, vehicle, known_pseudonyms(data)) if vehicle else None,
        region=region or None,
        guard=guards.build(guard).described() if guard else None,
        **times,
    )


def _is_meant(plan: Plan, is_sure: bool) -> bool:
    if not plan.scene_ids and not plan.half_sent:
        return True  # payloads that an earlier deletion has left may still go
    if is_sure:
        return True
    if not sys.stdin.isatty():
        raise InvalidValueError("delete: nobody to ask here; give --yes to delete, or --dry-run to look")
    return typer.confirm("Delete them?")


def _print_plan(plan: Plan, as_json: bool, is_all: bool) -> None:
    """is_all: nothing else is printed."""
    if as_json and is_all:
        shown = {"scenes": len(plan.scene_ids), "payload_bytes": plan.payload_bytes, "vehicles": plan.vehicles,
                 "half_sent": len(plan.half_sent), "where": plan.where}  # fmt: skip
        print(json.dumps(shown))
        return
    lines = [f"{len(plan.scene_ids)} scenes, {plan.payload_bytes:,} bytes", *(f"  vehicle {t}" for t in plan.vehicles)]
    if plan.half_sent:
        lines.append(f"{len(plan.half_sent)} scenes of which a part has come in")
    print("\n".join(lines), file=sys.stderr if as_json else sys.stdout)


def _print_deleted(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(shown))
        return
    print(f"deleted: {shown['scenes']} scenes, {shown['payloads']} payload files, {shown['payload_bytes']:,} bytes")
    if shown["left_over"]:
        print(f"{shown['left_over']} payload files that an earlier deletion had left are removed, too")
    if shown["arrived_meanwhile"]:
        print(f"{shown['arrived_meanwhile']} such scenes came in meanwhile; run the command again to delete them, too")
    for row in shown["affected"]:
        learned = "nobody knows from which scenes" if row["scenes"] is None else f"from {row['scenes']} of them"
        print(f"learned: {row['path']} ({learned})")


def _warn_without_runs(data: Path) -> None:
    if not data.is_dir():  # catalogue and payloads are elsewhere
        text = f"{data}: no such folder, so runs that learned from these scenes are not looked for; give their --data"
        print(f"WARNING: {text}", file=sys.stderr)


def _affected(data: Path, scene_ids: Collection[str]) -> list[dict[str, object]]:
    from server.training.seen_scenes import checkpoints_that_saw

    found = checkpoints_that_saw(data, scene_ids=scene_ids) if scene_ids and data.is_dir() else []
    return [{"run_id": each.run_id, "path": str(each.path), "scenes": each.scenes} for each in found]


def _print_verdict(verdict: Verdict, expected_head: str) -> None:
    if verdict.broken is not None:
        print(f"BROKEN at entry {verdict.broken.sequence}: {verdict.broken.what}")
    for line in verdict.disagreements:
        print(f"DISAGREES: {line}")
    if verdict.disagreeing > len(verdict.disagreements):
        print(f"... and {verdict.disagreeing - len(verdict.disagreements)} more")
    if verdict.is_expected_head_there is False:
        print(f"BROKEN: no entry has the hash {expected_head}: the log was cut off before it, or written anew")
    if verdict.left_over:
        print(f"{verdict.left_over} payload files of deleted scenes are left; the next `delete` removes them")
    print(f"{verdict.entries} entries, head {verdict.head.sha256}")
    if verdict.is_sound:
        print("sound: every entry follows from the one before, and the log agrees with what is stored")
    if not expected_head:
        print("Keep the head elsewhere: that the newest entries were cut off shows only with --expect-head.")


@contextmanager
def _opened(data: Path, is_writing: bool = False) -> Iterator[SceneArchive]:
    from server.repositories.archive import open_archive

    if is_writing:
        open_archive(data).close()  # nothing is made where there is nothing
    archive = open_archive(data, is_new_allowed=is_writing)
    try:
        yield archive
    finally:
        archive.close()
