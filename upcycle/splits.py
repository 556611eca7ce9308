"""`upcycle splits`: make and check the manifests that say which frames are labelled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from upcycle.data_sources import open_source

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

DatasetOption = Annotated[
    str,
    typer.Option(
        "--dataset",
        metavar="NAME[:SPLIT]",
        help="Which kind of dataset; simulated data take settings, as in simulated:train,domain=usa,sensor=waymo.",
        show_default=False,
    ),
]
RootOption = Annotated[
    Path | None, typer.Option("--root", help="Its folder; simulated data need none.", show_default=False)
]


@app.command()
def make(
    dataset: DatasetOption,
    out: Annotated[Path, typer.Option("--out", help="The folder for the manifests.", show_default=False)],
    root: RootOption = None,
    ratio: Annotated[list[float] | None, typer.Option(help="Share of labelled frames; may be repeated.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seed of the choice; may be repeated.")] = None,
    name: Annotated[
        str | None, typer.Option(help="First part of the files' names.", show_default="made from --dataset")
    ] = None,
) -> None:
    """Write one manifest for each ratio (0.02 and 0.1 unless given) and seed (0, 1 and 2 unless given)."""
    from server.training.splits import make_split, save_split

    frame_ids = open_source(dataset, root).dataset.frame_ids
    stem = name or re.sub(r"[^A-Za-z0-9]+", "-", dataset).strip("-")
    for share in ratio or [0.02, 0.1]:
        for number in seed or [0, 1, 2]:
            split = make_split(frame_ids, share, number, dataset)
            path = out / f"{stem}-{share:g}-seed{number}.json"
            save_split(split, path)
            typer.echo(f"wrote {path}: {len(split.frame_ids)} of {split.total} frames, SHA-256 {split.sha256[:12]}")


@app.command()
def check(
    manifests: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Manifests to check.")],
    root: RootOption = None,
) -> None:
    """Compare manifests with their own hashes, and with their dataset where it can be opened.

    With --root, or for simulated data, the split is made again from the dataset's frames.
    """
    from server.training.splits import load_split, make_split
    from shared_models.errors import DatasetError

    for path in manifests:
        split = load_split(path)
        said = f"{path}: {len(split.frame_ids)} of {split.total} frames of {split.dataset}"
        if root is None and not split.dataset.startswith("simulated"):
            typer.echo(f"{said}; hash as declared, not compared with the dataset (--root DIR)")
            continue
        frame_ids = open_source(split.dataset, root).dataset.frame_ids
        split.require_from(frame_ids)
        if make_split(frame_ids, split.ratio, split.seed, split.dataset) != split:
            raise DatasetError(f"{path}: the dataset's frames give another split; was the manifest edited?")
        typer.echo(f"{said}; the dataset gives the same split")
