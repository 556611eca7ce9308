"""`upcycle vehicle`: drive a dataset past the detector and send what it makes."""

from __future__ import annotations

import re
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from shared_models.errors import ConfigError
from vehicle_client.heartbeat import age_s

if TYPE_CHECKING:
    from vehicle_client.drive import Drive, DriveResult
    from vehicle_client.sensors.replay import ReplayConfig
    from vehicle_client.tls import TlsFiles

EXIT_INCOMPLETE, EXIT_STOPPED = 1, 130

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def vehicle() -> None:
    """Turn LiDAR scans into features and send them to a server."""


Server = Annotated[str, typer.Option("--server", metavar="HOST:PORT", help="The server's ingest address.")]
Root = Annotated[Path | None, typer.Option("--root", help="Folder of the dataset; simulated data need none.")]
DatasetName = Annotated[
    str, typer.Option("--dataset", help="Kind of the dataset; settings of simulated data follow: simulated,domain=usa.")
]
Split = Annotated[str, typer.Option("--split", help="all, or one of the dataset's splits: train, val, test, ...")]
DetectorName = Annotated[
    str | None, typer.Option("--detector", help="second_iou or pv_rcnn; a checkpoint knows its own.")
]
Setting = Annotated[str | None, typer.Option("--setting", help="Its size: kitti, waymo, small (the default) or tiny.")]
CheckpointPath = Annotated[Path | None, typer.Option("--checkpoint", help="Its weights; without, seeded ones.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the weights where no checkpoint is given.")]
Codecs = Annotated[
    list[str],
    typer.Option(
        "--codec", help="How features are packed; several send each frame so often; auto: by the link's budget."
    ),
]
GuardName = Annotated[str, typer.Option("--guard", help="What is done to the features before they are packed.")]
Rate = Annotated[float, typer.Option("--rate", metavar="HZ", help="Scans per second; 0 is as fast as possible.")]
Shard = Annotated[str, typer.Option("--shard", metavar="I/N", help="Play every N-th frame, beginning with number I.")]
Passes = Annotated[int, typer.Option("--passes", help="How often the frames are played; 0 repeats until stopped.")]
VehicleId = Annotated[
    str | None,
    typer.Option(
        "--vehicle-id",
        envvar="UPCYCLE_VEHICLE_ID",
        help="Name of the vehicle; without, the one that its state folder keeps, at first the host's.",
    ),
]
State = Annotated[Path | None, typer.Option("--state", help="Folder for unsent scenes and kept detections.")]
Detecting = Annotated[bool, typer.Option("--detections/--no-detections", help="Keep the vehicle's own detections.")]
Threads = Annotated[
    int,
    typer.Option(
        "--threads",
        help="CPU threads; more than 1 is quicker only where so many cores are free; 0 is torch's own choice.",
    ),
]
Select = Annotated[
    list[str],
    typer.Option(
        "--select",
        metavar="RULE,KEY=VALUE,...",
        help="Which frames are sent: every,n=5 or novelty,scenes_per_hour=100 or any_of+every,n=50+novelty, or a "
        "TOML file; several must all agree. Without: all.",
    ),
]
Link = Annotated[
    str | None,
    typer.Option(
        "--link",
        help="Kind of link, with its limits: cellular, wifi or ethernet, as in cellular,daily_bytes=200000000; or "
        "file:PATH or command:LINE, which name it.",
    ),
]
BandwidthFile = Annotated[
    Path | None, typer.Option("--bandwidth", help="TOML file with rates, budgets and codecs of each kind of link.")
]
GiveUpAfter = Annotated[
    float,
    typer.Option("--give-up-after", metavar="S", help="After the last frame: seconds without upload progress."),
]
TlsFolder = Annotated[
    Path | None, typer.Option("--tls", help="Folder with ca.pem, cert.pem and key.pem of `upcycle server pki issue`.")
]
CaFile = Annotated[Path | None, typer.Option("--ca", help="Authorities whose servers are believed, PEM.")]
CertificateFile = Annotated[Path | None, typer.Option("--cert", help="The vehicle's own certificate, PEM.")]
KeyFile = Annotated[Path | None, typer.Option("--key", help="Its private key, PEM.")]
Report = Annotated[Path | None, typer.Option("--report", help="Write everything about the drive to this JSON file.")]


@app.command()
def replay(
    server: Server,
    dataset: DatasetName = "kitti",
    root: Root = None,
    split: Split = "all",
    detector: DetectorName = None,
    setting: Setting = None,
    checkpoint: CheckpointPath = None,
    seed: Seed = 0,
    codec: Codecs = ["float32"],  # noqa: B006 - typer reads the default and copies it
    guard: GuardName = "none",
    rate: Rate = 0.0,
    shard: Shard = "0/1",
    passes: Passes = 1,
    vehicle_id: VehicleId = None,
    state: State = None,
    detections: Detecting = True,
    threads: Threads = 1,
    give_up_after: GiveUpAfter = 60.0,
    report: Report = None,
    select: Select = [],  # noqa: B006 - typer reads the default and copies it
    link: Link = None,
    bandwidth: BandwidthFile = None,
    tls: TlsFolder = None,
    ca: CaFile = None,
    cert: CertificateFile = None,
    key: KeyFile = None,
) -> None:
    """Replay a dataset: extract features of each scan, encode and upload them.

    Exit code 0: every frame was used and is stored on the server. 1: some frame or scene was refused; the others are
    stored. 2: a wrong argument. 3: this machine, or no server. 4: the server refuses this vehicle. 130: stopped.
    """
    # torch and gRPC are imported here, so that --help answers at once.
    from vehicle_client.bandwidth_options import bandwidth_config
    from vehicle_client.drive import Drive, DriveConfig
    from vehicle_client.extractor import ExtractorConfig
    from vehicle_client.report import write_report
    from vehicle_client.selections import parse
    from vehicle_client.tls import tls_files
    from vehicle_client.weights import load_detector

    secure = tls_files(tls, ca, cert, key)
    name, state = _who(vehicle_id, state, secure)
    config = DriveConfig(
        server=server,
        root=root,
        dataset=dataset,
        split=split,
        vehicle_id=name,
        state=state,
        codecs=tuple(codec),
        guard=guard,
        give_up_after_s=give_up_after,
        replay=replay_config(rate, shard, passes),
        extractor=ExtractorConfig(is_detecting=detections, threads=threads),
        bandwidth=bandwidth_config(link, bandwidth),
        tls=secure,
        select=parse(tuple(select)),
    )
    loaded = load_detector(detector, setting, checkpoint, seed)
    drive = Drive(config, loaded.detector)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a container is stopped as with Ctrl-C
    result = _run_with_progress(drive, name)
    if report is not None:
        write_report(report, result.report(config, loaded.about()))
    _print_summary(result, loaded.described())
    _exit(result)


@app.command()
def health(
    state: Annotated[Path, typer.Option("--state", help="State folder of the vehicle.")],
    max_age: Annotated[float, typer.Option("--max-age", metavar="S", help="Longest time without a frame.")] = 300.0,
    tls: TlsFolder = None,
    ca: CaFile = None,
    cert: CertificateFile = None,
    key: KeyFile = None,
) -> None:
    """Whether the vehicle of a state folder is driving: exit code 0, or 1 where its last frame is too long ago.

    With its certificate also whether that is valid: 4 where it is not.
    """
    from vehicle_client.tls import read_own, tls_files

    secure = tls_files(tls, ca, cert, key)
    if secure is not None:
        certificate = read_own(secure)
        certificate.check(time.time())
        typer.echo(f"certificate valid for {certificate.days_left(time.time()):.0f} more days")
    silent_s = age_s(state, time.time())
    typer.echo(f"last frame {silent_s:.0f} s ago")
    if silent_s > max_age:
        raise typer.Exit(1)


def host_name() -> str:
    """The host's name as a vehicle's name, so that each container of one image is a vehicle of its own."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()) or "vehicle"


def _who(vehicle_id: str | None, state: Path | None, secure: TlsFiles | None) -> tuple[str, Path]:
    """The vehicle's name and its state folder; a certificate names its vehicle where nothing else does.

    Raises:
        UnauthenticatedError, PermissionDeniedError: the certificate is not valid, or not this vehicle's.
    """
    from vehicle_client.kept_name import kept_name
    from vehicle_client.tls import read_own

    certificate = None if secure is None else read_own(secure)
    if certificate is not None:
        vehicle_id = vehicle_id or certificate.vehicle_id
    state = state or Path("state") / (vehicle_id or host_name())
    name = vehicle_id or kept_name(state) or host_name()
    if certificate is not None:
        certificate.check(time.time(), name)
    return name, state


def _exit(result: DriveResult) -> None:
    if result.upload is None:
        raise typer.Exit(EXIT_STOPPED)
    if not result.is_complete:
        raise typer.Exit(EXIT_INCOMPLETE)


def replay_config(rate_hz: float, shard: str, passes: int) -> ReplayConfig:
    """The replay that the command line asks for.

    Raises:
        ConfigError: a value is out of range, or the shard is not of the form I/N.
    """
    from vehicle_client.sensors.replay import ReplayConfig

    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if match is None:
        raise ConfigError(f"--shard: expected I/N, for example 0/2, got {shard!r}")
    return ReplayConfig(rate_hz=rate_hz, shard_index=int(match[1]), shard_count=int(match[2]), passes=passes)


def _run_with_progress(drive: Drive, name: str) -> DriveResult:
    columns = (
        TextColumn(name),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(drive.sensor), note="")
        return drive.run(lambda outcome, waiting: progress.update(task, advance=1, note=f"{waiting} scenes waiting"))


def _print_summary(result: DriveResult, weights: str) -> None:
    log = result.log
    console = Console()
    console.print(f"{log.used} frames used, {log.rejected} rejected; {weights}", soft_wrap=True)
    table = Table()
    table.add_column("")
    table.add_column("median", justify="right")
    table.add_column("max", justify="right")
    for stage, seconds in log.stage_seconds().items():
        table.add_row(stage, f"{seconds['median'] * 1e3:.1f} ms", f"{seconds['max'] * 1e3:.1f} ms")
    console.print(table)
    for codec, size in log.payload_bytes.items():
        console.print(f"{codec}: {size / max(1, log.selected) / 1e3:.1f} kB a frame")
    for reason, count in log.selected_by.items():
        console.print(f"{count} frames selected ({reason})", markup=False, soft_wrap=True)
    for reason, count in log.not_selected.items():
        console.print(f"{count} frames not selected ({reason})", markup=False, soft_wrap=True)
    for name, counts in (result.bandwidth or {}).get("links", {}).items():
        left = counts["left_bytes"]
        budget = "" if left is None else f", {left / 1e6:.1f} MB left today"
        if counts["sent_today_bytes"] or left is not None:
            console.print(f"{name}: {counts['sent_today_bytes'] / 1e6:.1f} MB sent today{budget}")
    for frame in log.rejections():
        console.print(f"rejected {frame.frame_id}: {frame.reason}", style="red", markup=False)
    for refusal in result.upload.refusals if result.upload else ():
        console.print(f"refused by the server: {refusal.frame_id}: {refusal.error}", style="red", markup=False)
