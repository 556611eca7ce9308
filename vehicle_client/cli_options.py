"""The options of `upcycle vehicle`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

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
GuardName = Annotated[
    str,
    typer.Option(
        "--guard",
        metavar="NAME[,KEY=VALUE...]",
        help="What is done to the features before they are packed, as noise,epsilon=4; several are joined by '+'. "
        "Without: what the server asks for, or else what this version recommends.",
        show_default=False,
    ),
]
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
Region = Annotated[
    str,
    typer.Option(
        "--region",
        metavar="NAME",
        help="Where the scans are taken, as coarse as you like, to delete scenes by it.",
    ),
]
PriorityName = Annotated[
    str,
    typer.Option("--priority", help="Class of frames that no rule gives a score: low, routine, high or urgent."),
]
OutboxBytes = Annotated[int, typer.Option("--outbox-bytes", metavar="N", help="Payload bytes that may wait, at most.")]
WhenFull = Annotated[
    Literal["evict", "refuse"],
    typer.Option("--when-full", help="evict: drop the least important, oldest scenes; refuse: end the drive."),
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
