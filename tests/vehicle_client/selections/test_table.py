"""How selections are written: on the command line and in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared_models.errors import ConfigError, UnknownNameError
from vehicle_client.selections import parse, selection_of


def test_nothing_is_selected_from_unless_told():
    assert parse(()) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("every,n=5",), {"rule": "every", "n": 5}),
        (("novelty,threshold=0.2,scenes_per_hour=9",), {"rule": "novelty", "threshold": 0.2, "scenes_per_hour": 9}),
        (
            ("any_of,bytes_per_day=7+every,n=50+novelty,window_frames=3",),
            {
                "rule": "any_of",
                "of": [{"rule": "every", "n": 50}, {"rule": "novelty"}],
                "bytes_per_day": 7,
                "window_frames": 3,
            },
        ),
        (
            ("every,n=2", "distance,metres=1e+2,scenes_per_day=4"),
            {
                "rule": "all_of",
                "of": [{"rule": "every", "n": 2}, {"rule": "distance", "metres": 100.0}],
                "scenes_per_day": 4,
            },
        ),
    ],
)
def test_the_command_line_becomes_a_mapping(given, expected):
    assert parse(given) == expected
    selection, config = selection_of(expected)
    assert selection.name == expected["rule"]
    assert config.scenes_per_hour == expected.get("scenes_per_hour")


def test_a_file_says_the_same_and_nests(tmp_path: Path):
    path = tmp_path / "select.toml"
    path.write_text(
        'rule = "any_of"\nscenes_per_hour = 60\n'
        '[[of]]\nrule = "every"\nn = 50\n'
        '[[of]]\nrule = "all_of"\nof = [{rule = "uncertainty"}, {rule = "novelty"}]\n'
    )
    mapping = parse((str(path),))
    assert mapping is not None
    selection, config = selection_of(mapping)
    assert (selection.has_scores, selection.needed(), config.scenes_per_hour) == (True, {"detections"}, 60)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("every,n", ConfigError, "selection every,n: expected KEY=VALUE, got 'n'"),
        ("every,n=0", ConfigError, "selection every: .*expected an integer"),
        ("every,m=3", ConfigError, "m: unknown key"),
        ("every,n=2,scenes_per_hour=lots", ConfigError, "selector: scenes_per_hour"),
        ("every,n=2,window_frames=0", ConfigError, "window_frames"),
        ("best", UnknownNameError, "unknown selection 'best'"),
        ("any_of", ConfigError, "expected the rules that it combines"),
        ("every+novelty", ConfigError, "of: unknown key"),
        ("none.toml", ConfigError, "cannot be read"),
    ],
)
def test_wrong_words_are_refused(given, error, message):
    with pytest.raises(error, match=message):
        selection_of(parse((given,)) or {})


def test_a_file_that_is_no_toml(tmp_path: Path):
    path = tmp_path / "select.toml"
    path.write_text("rule = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        parse((str(path),))
    path.write_text("n = 3")
    with pytest.raises(ConfigError, match="expected the name of one in `rule`"):
        selection_of(parse((str(path),)) or {})
