from __future__ import annotations

import sys

import pytest

from shared_models.errors import MissingDependencyError
from shared_models.visualisation.figure import as_png, new_figure


def test_the_same_figure_gives_the_same_bytes_of_the_wanted_size() -> None:
    def drawn() -> bytes:
        figure = new_figure(2, 1, dots_per_inch=50)
        figure.subplots().plot([0, 1], [1, 0])
        return as_png(figure)

    first = drawn()
    assert first == drawn()
    assert [int.from_bytes(first[place : place + 4], "big") for place in (16, 20)] == [100, 50]


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"upcycle-fleet\[plot\]"):
        new_figure(1, 1)
