"""`upcycle data`: list, draw, export and measure the frames of any dataset."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from shared_models.errors import ConfigError, StorageError
from upcycle.data_sources import Source, open_source

if TYPE_CHECKING:
    from shared_models.records import Detections, Frame
    from shared_models.statistics.comparison import Column
    from shared_models.statistics.summary import Statistics
    from shared_models.visualisation.picture import View

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

DatasetOption = Annotated[
    str,
    typer.Option(
        "--dataset",
        metavar="NAME[:SPLIT]",
        help="Which kind of dataset; simulated data take settings, as in simulated,domain=usa,sensor=waymo.",
        show_default=False,
    ),
]
RootOption = Annotated[
    Path | None, typer.Option("--root", help="Its folder; simulated data need none.", show_default=False)
]
FILE_WIDTH = 240
# Simulated data show all that they have, unless their settings say otherwise.
SHOWN: dict[str, Any] = {"fov": "full", "image": True}

MEASURED: dict[str, Any] = {"fov": "full", "drives": 50, "frames_per_drive": 1}


@app.command("ls")
def list_frames(
    dataset: DatasetOption,
    root: RootOption = None,
    frames: Annotated[int | None, typer.Option(min=1, help="List at most so many.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List frames with their points and labels."""
    source = open_source(dataset, root)
    table = Table("frame", title=f"{source.label}: {len(source.dataset)} frames")
    table.add_column("points", justify="right")
    table.add_column("labels", justify="right")
    table.add_column("classes")
    for frame_id in islice(source.dataset.frame_ids, frames):
        frame = source.dataset.frame(frame_id)
        names = frame.labels.class_names if frame.labels is not None else ()
        classes = {name: names.count(name) for name in sorted(set(names))}
        if as_json:
            count = None if frame.labels is None else len(names)
            typer.echo(
                json.dumps({"frame": frame_id, "points": len(frame.points), "labels": count, "classes": classes})
            )
            continue
        labels = "unlabelled" if frame.labels is None else str(len(names))
        table.add_row(frame_id, f"{len(frame.points):,}", labels, ", ".join(f"{n} {c}" for n, c in classes.items()))
    if not as_json:
        Console().print(table)


@app.command()
def show(
    frame: Annotated[str, typer.Argument(metavar="FRAME", help="A frame, or an ending that only it has.")],
    dataset: DatasetOption,
    out: Annotated[Path, typer.Option("--out", help="The PNG file to write.", show_default=False)],
    root: RootOption = None,
    detections: Annotated[
        Path | None,
        typer.Option(help="Detections to draw: a vehicle's .npz file, or KITTI text with scores.", show_default=False),
    ] = None,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Draw detections from this score on.")] = 0.3,
    dpi: Annotated[int, typer.Option(min=40, max=400, help="Dots per inch; a frame is 8 x 11.5 inches.")] = 110,
    camera_only: Annotated[bool, typer.Option("--camera-only", help="Draw only points that the camera sees.")] = False,
    beside: Annotated[
        str | None, typer.Option(metavar="FRAME", help="Draw a second frame beside it.", show_default=False)
    ] = None,
    beside_dataset: Annotated[
        str | None, typer.Option(metavar="NAME[:SPLIT]", help="The second frame's dataset.", show_default=False)
    ] = None,
    beside_root: Annotated[Path | None, typer.Option(help="The second frame's folder.", show_default=False)] = None,
) -> None:
    """Write a picture of a frame: from above with boxes, as the sensor sees it, and as the camera sees it."""
    from shared_models.visualisation.picture import draw

    shown = {**SHOWN, "fov": "camera" if camera_only else "full"}  # its labels are those of the camera, too
    views = [_view(open_source(dataset, root, shown), frame, camera_only, detections, min_score)]
    if beside is not None:
        second = open_source(
            beside_dataset or dataset, beside_root or (root if beside_dataset is None else None), shown
        )
        views.append(_view(second, beside, camera_only))
    elif beside_dataset is not None or beside_root is not None:
        raise ConfigError("--beside-dataset and --beside-root need --beside FRAME")
    _write(out, draw(views, dpi))
    typer.echo(f"wrote {out}")


@app.command()
def export(
    dataset: DatasetOption,
    out: Annotated[Path, typer.Option("--out", help="A new or empty folder.", show_default=False)],
    root: RootOption = None,
    form: Annotated[str, typer.Option("--format", help="The format to write: kitti.")] = "kitti",
    frames: Annotated[int | None, typer.Option(min=1, help="Export at most so many.", show_default=False)] = None,
    val_share: Annotated[float, typer.Option(min=0, max=1, help="Share of labelled frames for validation.")] = 0.2,
) -> None:
    """Write frames as a folder in KITTI's object detection format."""
    from shared_models.datasets.camera_images import camera_image, encode_png
    from shared_models.datasets.kitti_folder import KittiFolder

    if form != "kitti":
        raise ConfigError(f"--format: expected kitti, got {form!r}")
    source, folder = open_source(dataset, root, SHOWN), KittiFolder(out, val_share)
    names = source.dataset.frame_ids[:frames]
    numbers = _kitti_numbers(source.name, names)
    with _progress() as progress:
        task = progress.add_task(f"exporting {source.label}", total=len(names))
        for name, number in zip(names, numbers, strict=True):
            frame = source.frame(name)
            image = camera_image(source.name, source.root, frame)
            folder.add(frame, None if image is None else encode_png(image), number)
            progress.advance(task)
    folder.finish()
    typer.echo(f"wrote {len(names)} frames to {out}")


@app.command()
def stats(
    dataset: Annotated[
        list[str], typer.Option("--dataset", metavar="NAME[:SPLIT]", help="A dataset; may be repeated.")
    ],
    root: Annotated[
        list[str] | None, typer.Option("--root", help="The folder of each, in the same order; '-' for none.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Measure at most so many of each.")] = 50,
    compare: Annotated[
        list[str] | None, typer.Option(metavar="SIMULATED=REAL", help="Which to divide by which; may be repeated.")
    ] = None,
    markdown_file: Annotated[
        Path | None,
        typer.Option("--markdown", help="Put the table between the markers of this file.", show_default=False),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all numbers.", show_default=False)] = None,
) -> None:
    """Print statistics of several datasets side by side, and the ratio of simulated to real ones."""
    from shared_models.statistics.comparison import columns, insert_into, markdown

    sources = _sources(dataset, root or [])
    everything = [_measure(source, frames) for source in sources]
    table = columns(everything, _pairs(compare, sources))
    _print_columns(table)
    if markdown_file is not None:
        insert_into(markdown_file, markdown(table))
    if json_file is not None:
        _write(json_file, _as_json(everything).encode())


def _view(
    source: Source, frame_id: str, camera_only: bool, detections: Path | None = None, min_score: float = 0.0
) -> View:
    from dataclasses import replace

    from shared_models.datasets.camera_images import camera_image
    from shared_models.datasets.kitti_calibration import camera_view
    from shared_models.visualisation.marks import of_detections, of_labels
    from shared_models.visualisation.picture import View

    frame = source.frame(source.find(frame_id))
    image = camera_image(source.name, source.root, frame)
    if camera_only and frame.camera is not None:
        kept = camera_view(frame.points, frame.camera)
        frame = replace(frame, points=frame.points[kept], semantic=None, instance=None)
    marks = [of_labels(frame.labels)]
    if detections is not None:
        marks.append(of_detections(_read_detections(detections, frame), min_score))
    kind = "simulated data" if source.is_simulated else "real data"
    title = f"{kind} · {source.label.removeprefix('simulated ')} · {frame.frame_id}"
    return View(title=title, frame=frame, sensor_m=source.sensor_m(), marks=tuple(marks), image=image)


def _read_detections(path: Path, frame: Frame) -> Detections:
    if path.suffix == ".npz":
        from vehicle_client.detection_files import load_detections

        return load_detections(path)
    from shared_models.datasets.kitti_detections import read_detections

    if frame.camera is None:
        raise ConfigError(f"{path}: KITTI text is in a camera's frame, and frame {frame.frame_id} has no camera")
    return read_detections(path, frame.camera)


def _kitti_numbers(name: str, frame_ids: tuple[str, ...]) -> list[int | None]:
    """KITTI's own frames keep their numbers; others are numbered from 0."""
    return [int(frame_id.rpartition("-")[2]) if name == "kitti" else None for frame_id in frame_ids]


def _sources(names: list[str], roots: list[str]) -> list[Source]:
    if len(names) != len(roots) and roots:
        raise ConfigError(f"give one --root for each --dataset ('-' for none): got {len(names)} and {len(roots)}")
    given = roots or ["-"] * len(names)
    return [open_source(name, None if r == "-" else Path(r), MEASURED) for name, r in zip(names, given, strict=True)]


def _pairs(compare: list[str] | None, sources: list[Source]) -> list[tuple[str, str]]:
    """What --compare says; without it, each simulated dataset is divided by the first real one."""
    if compare is None:
        real = next((s.label for s in sources if not s.is_simulated), None)
        return [(s.label, real) for s in sources if s.is_simulated and real is not None]
    wrong = [given for given in compare if "=" not in given]
    if wrong:
        raise ConfigError(f"--compare: expected SIMULATED=REAL, got {wrong[0]!r}")
    labels = {source.given: source.label for source in sources}
    named = [given.rpartition("=") for given in compare]
    return [(labels.get(one, one), labels.get(other, other)) for one, _, other in named]


def _measure(source: Source, most: int) -> Statistics:
    from shared_models.statistics.summary import collect

    names = source.dataset.frame_ids[:most]
    with _progress() as progress:
        task = progress.add_task(f"measuring {source.label}", total=len(names))
        return collect(
            source.label,
            (source.frame(name) for name in names),
            source.sensor_m(),
            is_simulated=source.is_simulated,
            progress=lambda: progress.advance(task),
        )


def _print_columns(columns: list[Column]) -> None:
    from shared_models.statistics.summary import ALL_ROWS

    table = Table("")
    for column in columns:
        table.add_column(column.heading, justify="right")
    for row in ALL_ROWS:
        if any(row in column.cells for column in columns):
            cells = [(column.cells.get(row, ""), row in column.off) for column in columns]
            table.add_row(row, *(f"[bold red]{text}[/]" if is_off else text for text, is_off in cells))
    console = Console()
    # A file has no width; cells are not broken there.
    (console if console.is_terminal else Console(width=FILE_WIDTH)).print(table)


def _as_json(everything: list[Statistics]) -> str:
    found = [
        {"dataset": s.name, "simulated": s.is_simulated, "values": dict(s.values), "cars": dict(s.counts)}
        for s in everything
    ]
    return json.dumps(found, indent=1) + "\n"


def _progress() -> AbstractContextManager[Progress]:
    return Progress(console=Console(stderr=True), transient=True)


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
