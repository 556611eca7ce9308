"""Pictures as parts of the page. They need matplotlib."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Final

from server.audit.page.markup import Markup, tag
from shared_models.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH: Final = 110
COLOURS: Final = 96  # of a picture; scatter plots with fewer colours are a third of the size


def new_figure(width: float, height: float, *, is_placed: bool = False) -> Figure:
    """An empty figure, inches. is_placed: the caller says where its axes are; else they find their places.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "pictures need matplotlib, which is not installed; install it with: pip install 'upcycle-fleet[audit]'"
        ) from error
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=None if is_placed else "constrained")
    FigureCanvasAgg(figure)
    return figure


def as_png(figure: Figure) -> bytes:
    """The figure as a small PNG file; the same figure gives the same bytes."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    picture = Image.open(drawn).convert("RGB").quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
    picture.save(small, format="png", optimize=True)
    return small.getvalue()


def image(png: bytes, alt: str, kind: str = "") -> Markup:
    """A picture inside the page."""
    width, height = (int.from_bytes(png[place : place + 4], "big") for place in (16, 20))  # of the PNG's header
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return tag("img", src=source, alt=alt, width=width, height=height, class_=kind or None)
