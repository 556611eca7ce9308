"""`upcycle parity`: does this machine's build compute the reference features?"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from shared_models.detectors.anchor_detector import AnchorDetector
    from shared_models.parity import StageResult

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

ENGINE_DEVICES = {"spconv": "cuda"}


@app.command()
def parity(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Case folder with points.npy and expected.npz.", show_default=False)
    ],
    checkpoint: Annotated[
        Path, typer.Option("--checkpoint", help="Checkpoint folder, or an OpenPCDet .pth file.", show_default=False)
    ],
    engine: Annotated[str, typer.Option(help="Sparse convolution engine: auto, rulebook or spconv.")] = "auto",
    device: Annotated[
        str | None, typer.Option(help="Torch device; cuda for the spconv engine, else cpu.", show_default=False)
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads per operation.", show_default=False)] = None,
    tolerance: Annotated[float, typer.Option(min=0.0, help="Largest relative error that passes.")] = 1e-4,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Run a golden case and compare every stage with the reference. Exit code 1 when one differs too much."""
    from shared_models.parity import compare, read_case

    case = read_case(folder)
    detector = _open(checkpoint, engine, device or ENGINE_DEVICES.get(engine, "cpu"), threads)
    results = compare(detector, case)
    passed = all(result.relative_error <= tolerance for result in results)
    if as_json:
        _print_json(results, detector.backbone_hash, tolerance, passed)
    else:
        _print_table(results, detector.backbone_hash, tolerance, passed)
    if not passed:
        raise typer.Exit(1)


def _open(checkpoint: Path, engine: str, device: str, threads: int | None) -> AnchorDetector:
    import torch

    from shared_models.checkpoints.opening import open_checkpoint
    from shared_models.detectors.anchor_detector import AnchorDetector
    from shared_models.errors import DeviceError, InvalidValueError
    from shared_models.sparse import create_engine

    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise DeviceError(f"device {device!r} is none that torch knows; use cpu or cuda") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"device {device}: torch {torch.__version__} sees no CUDA device; try --engine rulebook")
    if threads is not None:
        torch.set_num_threads(threads)
    # A GPU's shortened float32 products would fail the comparison for a reason that is not a fault.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    detector = open_checkpoint(checkpoint, device=device, engine=create_engine(engine))
    if not isinstance(detector, AnchorDetector):
        raise InvalidValueError(f"{checkpoint}: parity compares anchor detectors, this is a {detector.name}")
    return detector


def _print_json(results: list[StageResult], backbone_hash: str, tolerance: float, passed: bool) -> None:
    worst = max(result.relative_error for result in results)
    report = {
        "passed": passed,
        "tolerance": tolerance,
        "max_relative_error": worst if math.isfinite(worst) else None,
        "backbone_hash": backbone_hash,
        "stages": [_stage_as_json(result) for result in results],
    }
    json.dump(report, sys.stdout, indent=1)
    sys.stdout.write("\n")


def _stage_as_json(result: StageResult) -> dict[str, object]:
    """Infinity is no JSON: a stage that cannot be compared has a null error and a note."""
    finite = math.isfinite(result.relative_error)
    return {**asdict(result), "relative_error": result.relative_error if finite else None}


def _print_table(results: list[StageResult], backbone_hash: str, tolerance: float, passed: bool) -> None:
    table = Table("stage")
    for heading in ("values", "largest", "relative error"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for result in results:
        verdict = "[green]ok" if result.relative_error <= tolerance else f"[red]differs[/] {result.note}"
        row = (result.stage, f"{result.count:,}", f"{result.max_abs:.4g}", f"{result.relative_error:.2e}", verdict)
        table.add_row(*row)
    console = Console()
    console.print(f"backbone {backbone_hash}", soft_wrap=True)
    console.print(table)
    console.print(f"{'[green]passed' if passed else '[red]failed'}[/] at a tolerance of {tolerance:g}")
