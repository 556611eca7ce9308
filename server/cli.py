"""`upcycle server`: receive scenes, and look at what is stored."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from server.data_options import (
    DEFAULT_DATA,
    CatalogueOption,
    DataOption,
    EndpointOption,
    JsonOption,
    PayloadsOption,
    use_stores,
)
from server.pki.cli import app as pki_app
from server.records.cli import add_commands as add_record_commands
from server.upload_options import AuditOption, UploadPolicyOption
from shared_models.configuration import from_toml
from shared_models.errors import ConfigError

if TYPE_CHECKING:
    from server.ingest.config import IngestConfig
    from server.repositories.archive import SceneArchive
    from server.repositories.repository import StoredScene

app = typer.Typer(name="server", help="Receive scenes from vehicles and look at what is stored.", no_args_is_help=True)
app.add_typer(pki_app, name="pki")
add_record_commands(app)


@app.command()
def serve(
    data: DataOption = DEFAULT_DATA,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 50051,
    backbone_hash: Annotated[list[str] | None, typer.Option(help="Accepted backbone, repeatable.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Checkpoint folder, or OpenPCDet .pth file, whose backbone is accepted.")
    ] = None,
    setting: Annotated[
        str | None, typer.Option(help="With a .pth: the setting it was trained in, if not the one of its shapes.")
    ] = None,
    any_backbone: Annotated[bool, typer.Option("--any-backbone", help="Accept every backbone; for trials.")] = False,
    codec: Annotated[list[str] | None, typer.Option(help="Accepted codec, repeatable; default: all.")] = None,
    split_layer: Annotated[list[str] | None, typer.Option(help="Accepted split layer, repeatable.")] = None,
    upload_policy: UploadPolicyOption = None,
    audit: AuditOption = None,
    model: Annotated[Path | None, typer.Option(help="Folder of the checkpoint that vehicles may fetch.")] = None,
    tls: Annotated[
        Path | None,
        typer.Option("--tls", help="Folder of key.pem, cert.pem, ca.pem and crl.pem: encrypt and demand certificates."),
    ] = None,
    insecure_public: Annotated[
        bool, typer.Option("--insecure-public", help="Listen beyond this machine without encryption.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file of limits, timeouts and shares; see docs/operations.md.")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port where Prometheus fetches metrics, without encryption; 0 takes a free one.")
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="Address of that port.")] = "127.0.0.1",
    log_format: Annotated[str, typer.Option(help="text, or json: one object on each line.")] = "text",
    retain_days: Annotated[
        int | None, typer.Option(help="Delete scenes so many days after they were stored; default: keep them.", min=1)
    ] = None,
    catalogue: CatalogueOption = "",
    payloads: PayloadsOption = "",
    s3_endpoint: EndpointOption = "",
) -> None:
    """Receive scenes until stopped; prints "listening on HOST:PORT"."""
    use_stores(catalogue, payloads, s3_endpoint)
    from server.asked_uploads import AskedUploads, announce
    from server.ingest.config import IngestConfig
    from server.ingest.log_format import use_log_format
    from server.ingest.server import Listen

    asked = AskedUploads(
        backbone_hashes=frozenset(
            [*(backbone_hash or ()), *([_backbone_of(checkpoint, setting)] if checkpoint else ())]
        ),
        is_any_backbone=any_backbone,
        codecs=frozenset(codec or ()),
        split_layers=frozenset(split_layer or ()),
    )
    policy = asked.policy(upload_policy, audit or ())
    if model is not None and not model.is_dir():
        raise ConfigError(f"--model: {model} is no folder; give the one of the checkpoint that vehicles may fetch")
    listen = Listen(host=host, port=port, is_public_allowed=insecure_public, is_encrypted=tls is not None)
    if insecure_public and not listen.is_loopback:
        _warn(f"INSECURE: {host} is open to the network; nothing is encrypted and no vehicle is authenticated")
    if any_backbone:
        _warn("every backbone is accepted: features of different backbones cannot be trained on together")
    settings = IngestConfig() if config is None else from_toml(IngestConfig, config)
    use_log_format(log_format)
    logging.getLogger("server").setLevel(logging.INFO)
    announce(policy)
    metrics = None if metrics_port is None else (metrics_host, metrics_port)
    asyncio.run(_serve(data, listen, policy, model, tls, retain_days, settings, metrics))


@app.command(name="ls")
def list_scenes(
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
    catalogue: CatalogueOption = "",
    payloads: PayloadsOption = "",
    s3_endpoint: EndpointOption = "",
) -> None:
    """List stored scenes in the order they came."""
    use_stores(catalogue, payloads, s3_endpoint)
    with _opened(data) as archive:
        _record(data, "list")
        if as_json:
            for stored in archive.catalogue.scenes():
                print(json.dumps(_row(stored)))
            return
        table = Table()
        for heading in ("scene", "vehicle", "frame", "codec", "guard", "bytes", "stored at"):
            table.add_column(heading, overflow="fold")
        for stored in archive.catalogue.scenes():
            row = _row(stored)
            table.add_row(
                row["scene_id"][:12], row["vehicle"], escape(row["frame_id"]), escape(row["codec"]),
                escape(row["guard"]), f"{row['payload_bytes']:,}", row["stored_at"],
            )  # fmt: skip
        counts = archive.catalogue.counts()
        table.caption = f"{counts.scenes} scenes, {counts.payload_bytes:,} bytes"
        Console().print(table)


@app.command()
def show(
    scene: Annotated[str, typer.Argument(help="Scene id, or its first digits.")],
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
    catalogue: CatalogueOption = "",
    payloads: PayloadsOption = "",
    s3_endpoint: EndpointOption = "",
) -> None:
    """Show one scene: manifest, header, and what its features look like."""
    use_stores(catalogue, payloads, s3_endpoint)
    with _opened(data) as archive:
        stored = archive.catalogue.get(scene)
        _record(data, "read", stored.scene_id)
        shown = {"scene": _row(stored), **_describe_payload(archive, stored)}
        if as_json:
            print(json.dumps(shown))
            return
        for title, part in shown.items():
            print(title)
            for key, value in part.items():
                print(f"  {key:<28} {value}")  # no table: a terminal's width must not cut hashes


@app.command()
def tags(
    vehicle_id: Annotated[str, typer.Argument(help="The vehicle's plain name.")],
    data: DataOption = DEFAULT_DATA,
    periods: Annotated[int, typer.Option(help="How many periods, back from now.", min=1)] = 13,
    as_json: JsonOption = False,
) -> None:
    """List the tags that a vehicle has in listings, logs and pages, the newest first; needs the server's key."""
    from server.repositories.pseudonym import open_pseudonyms

    pseudonyms = open_pseudonyms(data)
    newest = pseudonyms.period(time.time_ns())
    for period in range(newest, max(newest - periods, -1), -1):
        start_ns = pseudonyms.starts_ns(period)
        row = {"tag": pseudonyms.tag(vehicle_id, start_ns), "from": _iso(start_ns)}
        print(json.dumps(row) if as_json else f"{row['tag']}  from {row['from']}")


async def _serve(
    data: Path,
    listen: Any,
    policy: Any,
    model: Path | None,
    tls: Path | None,
    retain_days: int | None,
    config: IngestConfig,
    metrics: tuple[str, int] | None,
) -> None:
    from server.ingest.intake import Intake
    from server.ingest.metrics import serving_metrics
    from server.ingest.retention import retaining
    from server.ingest.server import IngestServer, serve_until_signalled
    from server.ingest.tls import TlsConfig, TlsFolder
    from server.repositories.archive import open_archive, writer
    from server.repositories.pseudonym import check_same_key, open_pseudonyms
    from server.repositories.store_config import StoreConfig

    certificates = None if tls is None else TlsFolder(TlsConfig(folder=tls))
    stores = StoreConfig.from_environment()
    with writer(data, stores):
        archive = open_archive(data, is_new_allowed=True)
        archive.store.recover()
        try:
            pseudonyms = open_pseudonyms(data, is_new_allowed=True)
            if stores.catalogue_url:
                check_same_key(pseudonyms, archive.catalogue)
            folder = None if stores.payloads_url else data  # whose space is watched; a bucket's cannot be
            intake = Intake(policy, archive.store, archive.catalogue, config, pseudonyms=pseudonyms, folder=folder)
            server = IngestServer(intake, listen, model, certificates)
            async with retaining(archive, retain_days):
                with serving_metrics(intake.metrics, metrics) as metrics_port:
                    addresses = (listen.host, metrics, metrics_port)
                    await serve_until_signalled(server, lambda port: _print_addresses(port, *addresses))
        finally:
            archive.close()


def _print_addresses(port: int, host: str, metrics: tuple[str, int] | None, metrics_port: int) -> None:
    # Plain lines for scripts; the ports are the real ones where 0 was asked for.
    print(f"listening on {host}:{port}", flush=True)
    if metrics is not None:
        print(f"metrics on {metrics[0]}:{metrics_port}", flush=True)


def _backbone_of(checkpoint: Path, setting: str | None) -> str:
    from shared_models.checkpoints import open_checkpoint

    # Opened in full, not only read: a damaged checkpoint is refused here, and its hash follows from its weights.
    return open_checkpoint(checkpoint, setting=setting).backbone_hash


def _row(stored: StoredScene) -> dict[str, Any]:
    from server.repositories.pseudonym import vehicle_tag

    row = asdict(stored.manifest)
    name, kept = vehicle_tag(row.pop("vehicle_id")), {"guard": stored.guard, "stored_at": _iso(stored.stored_at_ns)}
    return {"scene_id": stored.scene_id, "vehicle": name, **row, **kept}


def _iso(at_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ns / 1e9))


def _describe_payload(archive: SceneArchive, stored: StoredScene) -> dict[str, dict[str, Any]]:
    from shared_models import codecs

    payload = archive.encoded(stored).payload
    header = asdict(codecs.read_header(payload))
    scene = codecs.decode(payload)
    described: dict[str, Any] = {"active cells": len(scene.grid), "map (D, H, W)": list(scene.grid.shape)}
    tables = {"grid": scene.grid.features}
    if scene.keypoints is not None:
        tables["keypoints"] = scene.keypoints.features
    for name, values in tables.items():
        described[f"{name} features"] = list(values.shape)
        if values.numel():
            described[f"{name} min, mean, max"] = [float(v) for v in (values.min(), values.mean(), values.max())]
            described[f"{name} zeros"] = float((values == 0).float().mean())
    return {"header": header, "features": described}


@contextmanager
def _opened(data: Path) -> Iterator[SceneArchive]:
    from server.repositories.archive import open_archive

    archive = open_archive(data)
    try:
        yield archive
    finally:
        archive.close()


def _record(data: Path, action: str, subject: str = "") -> None:
    """Log what is about to be shown."""
    from server.repositories.access_log import Action
    from server.repositories.read_recorder import record_read

    record_read(data, Action(action), subject)


def _warn(message: str) -> None:
    print(f"WARNING: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    app()
