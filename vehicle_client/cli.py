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

from shared_models.errors import ConfigError
from vehicle_client.cli_options import (
    BandwidthFile,
    CaFile,
    CertificateFile,
    CheckpointPath,
    Codecs,
    DatasetName,
    Detecting,
    DetectorName,
    GiveUpAfter,
    GuardName,
    KeyFile,
    Link,
    OutboxBytes,
    Passes,
    PriorityName,
    Rate,
    Region,
    Report,
    Root,
    Seed,
    Select,
    Server,
    Setting,
    Shard,
    Split,
    State,
    Threads,
    TlsFolder,
    VehicleId,
    WhenFull,
)
from vehicle_client.drive_summary import print_summary
from vehicle_client.heartbeat import age_s

if TYPE_CHECKING:
    from vehicle_client.drive import Drive, DriveResult
    from vehicle_client.drive_config import DriveConfig
    from vehicle_client.sensors.replay import ReplayConfig
    from vehicle_client.tls import TlsFiles
    from vehicle_client.weights import LoadedDetector

EXIT_INCOMPLETE, EXIT_STOPPED = 1, 130

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def vehicle() -> None:
    """Turn LiDAR scans into features and send them to a server."""


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
    guard: GuardName = "",
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
    region: Region = "",
    priority: PriorityName = "routine",
    outbox_bytes: OutboxBytes = 2 << 30,
    when_full: WhenFull = "evict",
    bandwidth: BandwidthFile = None,
    tls: TlsFolder = None,
    ca: CaFile = None,
    cert: CertificateFile = None,
    key: KeyFile = None,
) -> None:
    """Replay a dataset: extract features of each scan, encode and upload them.

    Exit code 0: every frame was used and is stored on the server. 1: some frame or scene was refused, or dropped
    because the outbox was full; the others are stored. 2: a wrong argument. 3: this machine, or no server. 4: the
    server refuses this vehicle. 130: stopped.
    """
    # torch and gRPC are imported here, so that --help answers at once.
    from vehicle_client.bandwidth_options import bandwidth_config
    from vehicle_client.drive_config import DriveConfig
    from vehicle_client.extractor import ExtractorConfig
    from vehicle_client.outbox_config import OutboxConfig
    from vehicle_client.priority import Priority
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
        region=region,
        priority=Priority.of_name(priority),
        outbox=OutboxConfig(max_bytes=outbox_bytes, when_full=when_full),
    )
    _carry_out(config, load_detector(detector, setting, checkpoint, seed), report)


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


def _carry_out(config: DriveConfig, loaded: LoadedDetector, report: Path | None) -> None:
    """Drive, say what came of it, and end with its exit code."""
    from vehicle_client.drive import Drive
    from vehicle_client.report import write_report

    drive = Drive(config, loaded.detector)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a container is stopped as with Ctrl-C
    result = _run_with_progress(drive, config.vehicle_id)
    if report is not None:
        write_report(report, result.report(config, loaded.about()))
    print_summary(result, loaded.described())
    _exit(result)


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
