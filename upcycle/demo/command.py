"""`upcycle demo`: the whole demonstration, or the road from vehicles to the server alone."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from shared_models.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from upcycle.demo.config import DemoConfig

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

ALL_CODECS = ["float32", "float16", "int8", "int4"]
# One drive a vehicle, in streets that follow from the vehicle's name.
SIMULATED = "simulated,drives=1,frames_per_drive=20"
VEHICLES = 2
PAGE = Path("out/demo.html")
OF_TRANSPORT = "only with --transport-only or --kitti"
OF_WHOLE = "not with --transport-only or --kitti"


@app.command()
def demo(
    kitti: Annotated[
        Path | None,
        typer.Option("--kitti", help="Folder with KITTI frames (training/, testing/) to send; means --transport-only."),
    ] = None,
    transport_only: Annotated[
        bool, typer.Option("--transport-only", help="Only send scans and compare what both sides detect.")
    ] = False,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=f"Change one value; {OF_WHOLE}.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(help=f"Where the page goes [default: {PAGE}, or demo.html in --keep]; {OF_WHOLE}."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help=f"Weights; without, seeded and untrained ones; {OF_TRANSPORT}.")
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help=f"second_iou or pv_rcnn; a checkpoint knows its own; {OF_TRANSPORT}.")
    ] = None,
    setting: Annotated[
        str | None, typer.Option(help=f"kitti, waymo, small (the default) or tiny; {OF_TRANSPORT}.")
    ] = None,
    codec: Annotated[
        list[str] | None, typer.Option("--codec", help=f"Codecs to send each frame with [all]; {OF_TRANSPORT}.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, and of the whole demonstration.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Where the numbers go [default: beside the page, or nowhere].")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep", help="Keep data, reports and logs in this folder. The whole demonstration goes on where it was."
        ),
    ] = None,
) -> None:
    """Show everything in minutes, with SIMULATED scans, on one page.

    A detector learns in one city; vehicles drive with it in another one and upload features through a real server; the
    server learns from them; AP before and after on drives that nobody learned from; a quick audit of the uploads.

    With --transport-only, or --kitti and real scans, the vehicles only send scans in several codecs, and both sides'
    detections are compared.

    Exit code 0: nothing was lost, and with float32 the server sees exactly what the vehicles see. 1: something differs.
    """
    is_transport = transport_only or kitti is not None
    own = {"--checkpoint": checkpoint, "--detector": detector, "--setting": setting, "--codec": codec}
    _refuse({"--set": changes, "--page": page} if is_transport else own, OF_WHOLE if is_transport else OF_TRANSPORT)
    if is_transport:
        options = {"--detector": detector, "--setting": setting, "--checkpoint": checkpoint, "--seed": seed or 0}
        results = _transport(kitti, options, codec or ALL_CODECS, keep)
        if json_file is not None:
            _write_json(json_file, results)
        problems = results["problems"]
    else:
        more = [*(changes or ()), *([] if seed is None else [f"seed={seed}"])]
        problems = _whole(more, keep, page, json_file)
    if problems:
        raise typer.Exit(1)


def _refuse(options: dict[str, Any], why: str) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise ConfigError(f"demo: {', '.join(given)}: {why}")


def _whole(changes: Sequence[str], keep: Path | None, page: Path | None, json_file: Path | None) -> list[str]:
    """The whole demonstration; gives what must not be."""
    from upcycle.demo.page.document import write_page
    from upcycle.demo.story import SCHEMA, Story

    config = configured(changes)
    target = page or (keep / "demo.html" if keep is not None else PAGE)
    console = Console()
    console.print("every scan here is SIMULATED", highlight=False)
    with _folder(keep, SCHEMA) as folder:
        results = Story(config, folder, console).tell()
        write_page(target, results)
    numbers = json_file or target.with_suffix(".json")
    _write_json(numbers, results)
    _print_whole(console, results)
    console.print(f"numbers: {numbers}\npage: {target}", highlight=False, soft_wrap=True)
    problems: list[str] = results["fleet"]["problems"]
    return problems


def configured(changes: Sequence[str]) -> DemoConfig:
    """The demonstration with some values changed.

    Raises:
        ConfigError: a change is not of the form KEY=VALUE, its key is unknown, or its value wrong.
    """
    from server.training.run_config import changed
    from shared_models.configuration import from_dict
    from upcycle.demo.config import DemoConfig

    return from_dict(DemoConfig, changed({}, changes))


def _print_whole(console: Console, results: dict[str, Any]) -> None:
    fleet, precision = results["fleet"], results["precision"]
    for problem in fleet["problems"]:
        console.print(f"[red]problem:[/] {problem}")
    if not fleet["problems"]:
        console.print(
            f"{fleet['scenes_stored']} of {fleet['scenes_sent']} scenes stored; with float32 the server sees exactly "
            "what the vehicles see",
            highlight=False,
            soft_wrap=True,
        )
    name = "ap_all/loose/car/3d/moderate"
    if precision["gain"].get(name, {}).get("value") is not None:
        before, after, gain = (precision[word][name] for word in ("before", "after", "gain"))
        console.print(
            f"Car, 3D overlap 0.5, moderate: AP {before['value']:.1f} before, {after['value']:.1f} after; difference "
            f"{gain['value']:+.1f}, interval {gain['low']:+.1f} to {gain['high']:+.1f}",
            highlight=False,
            soft_wrap=True,
        )
    total = results["total"]
    console.print(f"{total['wall_s']:.0f} s, {total['cpu_s']:.0f} s of processor time", highlight=False)


def _transport(kitti: Path | None, options: dict[str, Any], codecs: list[str], keep: Path | None) -> dict[str, Any]:
    """Start a server and two vehicles, stream all frames, and compare both sides' detections."""
    from upcycle.demo.fleet import Fleet
    from upcycle.demo.transport import THREADS, transported
    from upcycle.demo.transport_tables import print_transport
    from vehicle_client.weights import load_detector

    if kitti is not None and not kitti.is_dir():
        raise ConfigError(f"--kitti: {kitti} is not a folder; give the one that holds training/ or testing/")
    loaded = load_detector(*(options[f"--{name}"] for name in ("detector", "setting", "checkpoint", "seed")))
    console = Console()
    with _folder(keep) as folder:
        fleet = Fleet(
            dataset="kitti" if kitti else SIMULATED,
            root=kitti,
            folder=folder,
            detector_options=tuple(str(p) for pair in options.items() if pair[1] is not None for p in pair),
            backbone_hash=loaded.detector.backbone_hash,
            codecs=tuple(codecs),
            vehicle_count=VEHICLES,
            threads=THREADS,
        )
        with console.status("server and vehicles are running"):
            reports = fleet.run()
        with console.status("the server decodes what it stored and runs the heads") as status:
            results = transported(
                fleet,
                reports,
                loaded.detector,
                lambda done: status.update(f"the server decodes what it stored and runs the heads: {done} scenes"),
            )
    results["weights"] = loaded.described()
    print_transport(console, results)
    return results


@contextmanager
def _folder(keep: Path | None, marks: str = "") -> Iterator[Path]:
    """The folder of a demonstration; one that is not kept is removed.

    marks: of a demonstration that can go on: its folder is not empty, and has a file with this text.
    """
    if keep is None:
        folder = Path(tempfile.mkdtemp(prefix="upcycle-demo-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    mark = keep / "demo-folder"
    is_own = bool(marks) and mark.is_file() and mark.read_text().strip() == marks
    if keep.exists() and any(keep.iterdir()) and not is_own:
        why = "holds something else" if marks else "is not empty; earlier scenes there would be counted again"
        raise ConfigError(f"--keep: {keep} {why}")
    if marks:
        _write(mark, f"{marks}\n")
    yield keep


def _write_json(path: Path, results: dict[str, Any]) -> None:
    _write(path, json.dumps(results, indent=1) + "\n")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
