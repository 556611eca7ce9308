"""Figures without a display, and their PNG files. They need matplotlib, imported only when a figure is made."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final, Literal

from shared_models.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH: Final = 110


def new_figure(
    width: float,
    height: float,
    *,
    dots_per_inch: float = DOTS_PER_INCH,
    layout: Literal["constrained"] | None = "constrained",
) -> Figure:
    """An empty figure, inches. layout: "constrained" lets its axes find their places, None leaves that to the caller.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "pictures need matplotlib, which is not installed; install it with: pip install 'upcycle-fleet[plot]'"
        ) from error
    figure = Figure(figsize=(width, height), dpi=dots_per_inch, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def as_png(figure: Figure) -> bytes:
    """The figure as a PNG file, without version and time: the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
