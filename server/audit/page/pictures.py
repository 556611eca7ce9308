"""Pictures as parts of the page. They need matplotlib."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Final

from server.audit.page.markup import Markup, tag
from shared_models.visualisation.figure import as_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS: Final = 96  # of a picture; scatter plots with fewer colours are a third of the size


def as_small_png(figure: Figure) -> bytes:
    """The figure as a small PNG file; the same figure gives the same bytes."""
    from PIL import Image

    small = io.BytesIO()
    picture = Image.open(io.BytesIO(as_png(figure))).convert("RGB").quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
    picture.save(small, format="png", optimize=True)
    return small.getvalue()


def image(png: bytes, alt: str, kind: str = "") -> Markup:
    """A picture inside the page."""
    width, height = (int.from_bytes(png[place : place + 4], "big") for place in (16, 20))  # of the PNG's header
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return tag("img", src=source, alt=alt, width=width, height=height, class_=kind or None)
