"""A picture of one simulated scene and of what an attack makes of it, layer by layer, as in the paper's figures 1 to 3.

    python -m benchmarks.audit ... --clouds CLOUDS.npz
    python -m benchmarks.audit_picture CLOUDS.npz PICTURE.png [--attack decoder] [--seed 1]

Above: from above. Below: from behind the sensor. Only simulated victims are drawn: scans of KITTI may not be passed on.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from benchmarks.audit import TRUTH
from server.audit.page.views import Panel, Stage, from_above, in_perspective

GROUP = "simulated"
LAYERS = {"conv1": "layer 1 (conv1)", "conv3": "layer 3 (conv3)", "conv_out": "layer 5 (conv_out)"}
WIDTH_PIXELS = 1400
COLOURS = 64


def panels_of(clouds: dict[str, NDArray[np.float32]], attack: str, seed: int) -> list[Panel]:
    """The scan, then what came back from each layer that was measured.

    Raises:
        KeyError: the scene is not there.
    """
    found = {layer: f"{seed}|{GROUP}|{layer}|{attack}" for layer in LAYERS}
    panels = [Panel(title="simulated scan", points=clouds[f"{seed}|{GROUP}|-|{TRUTH}"])]
    return panels + [Panel(title=LAYERS[layer], points=clouds[key]) for layer, key in found.items() if key in clouds]


def stacked(pictures: list[bytes]) -> Image.Image:
    """PNG pictures of one width, one below the other, in few colours and no wider than `WIDTH_PIXELS`."""
    opened = [Image.open(BytesIO(picture)).convert("RGB") for picture in pictures]
    whole = Image.new("RGB", (max(each.width for each in opened), sum(each.height for each in opened)))
    top = 0
    for each in opened:
        whole.paste(each, (0, top))
        top += each.height
    whole.thumbnail((WIDTH_PIXELS, whole.height))
    return whole.quantize(COLOURS)


def main(
    clouds: Annotated[Path, typer.Argument(help="As benchmarks.audit wrote them.")],
    picture: Annotated[Path, typer.Argument(help="Where the PNG goes.")],
    attack: Annotated[str, typer.Option(help="Name of the attack.")] = "decoder",
    seed: Annotated[int, typer.Option(help="Whose first victim is drawn.")] = 1,
) -> None:
    """Draw a simulated scan beside what an attack restored from each layer."""
    with np.load(clouds) as stored:
        panels = panels_of(dict(stored), attack, seed)
    truth = panels[0].points
    low, high = truth[:, :3].min(0), truth[:, :3].max(0)
    stage = Stage.of(truth, (*low.tolist(), *high.tolist()))
    picture.parent.mkdir(parents=True, exist_ok=True)
    stacked([from_above(panels, stage), in_perspective(panels, stage)]).save(picture, optimize=True)


if __name__ == "__main__":
    typer.run(main)
