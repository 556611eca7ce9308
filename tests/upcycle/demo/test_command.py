from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from shared_models.errors import ConfigError
from upcycle.demo import story
from upcycle.demo.command import app, configured
from upcycle.demo.page import document


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--checkpoint", "x"), "only with --transport-only"),
        (("--codec", "int8"), "only with --transport-only"),
        (("--transport-only", "--set", "seed=2"), "not with --transport-only"),
        (("--kitti", "x", "--page", "p.html"), "not with --transport-only"),
        (("--set", "no_such=1"), "no_such"),
        (("--set", "rounds=1"), "rounds"),
    ],
)
def test_options_that_nothing_would_read_are_refused(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        invoke(*arguments)


def test_values_are_changed_by_their_names() -> None:
    config = configured(["seed=4", "recipe.teacher.decay=0.9", 'codec="int8"'])
    assert (config.seed, config.recipe, config.codec) == (4, {"teacher": {"decay": 0.9}}, "int8")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Path]]:
    """Stands for the story; gives the seed and the folder of each that was told."""
    told: list[tuple[int, Path]] = []

    class ShortStory:
        def __init__(self, config: Any, folder: Path, console: Any) -> None:
            told.append((config.seed, folder))

        def tell(self) -> dict[str, Any]:
            fleet = {"problems": ["a scene is lost"], "scenes_sent": 2, "scenes_stored": 1}
            return {"fleet": fleet, "precision": {"gain": {}}, "total": {"wall_s": 1.0, "cpu_s": 1.0}}

    monkeypatch.setattr(story, "Story", ShortStory)
    monkeypatch.setattr(document, "html_page", lambda results: "the page")
    return told


def test_page_and_numbers_are_written_and_a_problem_is_an_exit_code(short, tmp_path: Path) -> None:
    result = invoke("--seed", "9", "--page", str(tmp_path / "here" / "p.html"))
    assert result.exit_code == 1
    assert "a scene is lost" in result.output
    assert str(tmp_path / "here" / "p.html") in result.output.replace("\n", "")
    assert (tmp_path / "here" / "p.html").read_text() == "the page"
    assert json.loads((tmp_path / "here" / "p.json").read_text())["total"]["wall_s"] == 1.0
    ((seed, folder),) = short
    assert seed == 9
    assert not folder.exists()


def test_a_kept_folder_goes_on_and_a_foreign_one_is_left_alone(short, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    for _ in range(2):
        invoke("--keep", str(kept))
    assert [folder for _, folder in short] == [kept, kept]
    assert (kept / "demo.html").is_file()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "letter").touch()
    with pytest.raises(ConfigError, match="holds something else"):
        invoke("--keep", str(tmp_path / "foreign"))
