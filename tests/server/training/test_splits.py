from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.training.splits import labelled_count, load_split, make_split, save_split
from shared_models.errors import DatasetError, InvalidValueError

KITTI = tuple(f"training-{k:06d}" for k in range(3712))


@given(
    numbers=st.sets(st.integers(0, 10**6), min_size=1, max_size=60),
    ratio=st.floats(1e-3, 1),
    seed=st.integers(0, 2**31 - 1),
)
@settings(max_examples=80, deadline=None)
def test_labelled_and_unlabelled_are_disjoint_and_together_everything(numbers, ratio, seed):
    names = tuple(f"{number:06d}" for number in numbers)  # text that looks like numbers, as KITTI's frames
    split = make_split(names, ratio, seed, "made")
    labelled, unlabelled = split.frame_ids, split.unlabelled(names)
    assert not set(labelled) & set(unlabelled)
    assert set(labelled) | set(unlabelled) == set(names)
    assert len(labelled) + len(unlabelled) == len(names)
    assert all(isinstance(name, str) for name in (*labelled, *unlabelled))


def test_published_sizes():
    assert [labelled_count(3712, ratio) for ratio in (0.01, 0.02, 0.1, 1.0)] == [37, 74, 371, 3712]
    assert labelled_count(100, 0.29) == 29
    assert labelled_count(13, 0.01) == 1
    assert len(make_split(KITTI, 0.02, 0, "kitti").frame_ids) == 74


def test_the_choice_is_as_documented():
    names = [f"f{k}" for k in range(20)]
    keys = {hashlib.sha256(f"7:{name}".encode()).hexdigest(): name for name in names}
    expected = {keys[key] for key in sorted(keys)[:4]}
    split = make_split(names, 0.2, 7, "made")
    assert set(split.frame_ids) == expected
    assert list(split.frame_ids) == [name for name in names if name in expected]  # in the dataset's order
    assert set(make_split(names[::-1], 0.2, 7, "made").frame_ids) == expected


def test_seeds_differ_and_ratios_nest():
    small, large, other = (make_split(KITTI, *pair, "kitti") for pair in ((0.02, 0), (0.1, 0), (0.02, 1)))
    assert set(small.frame_ids) < set(large.frame_ids)
    assert len(set(small.frame_ids) & set(other.frame_ids)) < 20
    halves = [sum(name < KITTI[1856] for name in make_split(KITTI, 0.1, k, "kitti").frame_ids) for k in range(5)]
    assert all(130 < half < 240 for half in halves)  # even over the dataset


def test_saved_and_loaded(tmp_path):
    split, path = make_split(KITTI, 0.02, 3, "kitti:train"), tmp_path / "split.json"
    save_split(split, path)
    assert load_split(path) == split
    assert (
        json.loads(path.read_text())["sha256"]
        == hashlib.sha256("".join(f"{name}\n" for name in split.frame_ids).encode()).hexdigest()
    )


def changed(path, **values):
    manifest = json.loads(path.read_text()) | values
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"frame_ids": [f"f{k}" for k in range(1, 6)]}, "do not have the declared SHA-256"),
        ({"frame_ids": ["f1"]}, "expected 5 frames"),
        ({"frame_ids": [1, 2, 3, 4, 5]}, "list of texts"),
        ({"frame_ids": ["f1"] * 5}, "named twice"),
        ({"format": 2}, "expected format 1"),
        ({"more": 1}, "exactly the keys"),
        ({"seed": 1.5}, "expected texts, numbers"),
        ({"ratio": 2}, "ratio"),
        ({"all_sha256": "0"}, "64 lower-case"),
    ],
)
def test_edited_manifests_are_refused(tmp_path, values, message):
    path = tmp_path / "split.json"
    save_split(make_split([f"f{k}" for k in range(10)], 0.5, 0, "made"), path)
    changed(path, **values)
    with pytest.raises(DatasetError, match=message):
        load_split(path)


def test_unreadable_manifests_are_named(tmp_path):
    with pytest.raises(DatasetError, match="cannot be read"):
        load_split(tmp_path)  # a folder
    (tmp_path / "split.json").write_text("{")
    with pytest.raises(DatasetError, match="not valid JSON"):
        load_split(tmp_path / "split.json")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("kitti-0.1-seed1.json",
         "--dataset kitti:train --root data/kitti --ratio 0.1 --seed 1 --out FOLDER --name kitti"),
        ("my-own-0.1-seed2.json", "--dataset NAME:SPLIT --root DIR --ratio 0.1 --seed 2 --out FOLDER --name my-own"),
        ("other.json", "--dataset NAME:SPLIT --root DIR --ratio RATIO --seed SEED --out FOLDER --name NAME"),
    ],
)  # fmt: skip
def test_a_missing_manifest_comes_with_the_command_that_makes_it(tmp_path, name, command):
    with pytest.raises(DatasetError) as caught:
        load_split(tmp_path / name)
    assert str(caught.value).endswith(f"upcycle splits make {command}".replace("FOLDER", str(tmp_path)))


def test_other_frames_are_refused():
    split = make_split(["a", "b", "c"], 0.4, 0, "made")
    with pytest.raises(DatasetError, match="made of 3 other frames than the 4 given"):
        split.unlabelled(["a", "b", "c", "d"])
    with pytest.raises(DatasetError, match="other frames"):
        split.unlabelled(["a", "b", "d"])


@pytest.mark.parametrize("names", [[], ["a", "a"], ["a/b"], [3]])
def test_wrong_names_are_refused(names):
    with pytest.raises(InvalidValueError, match=r"partial-label split|PartialSplit"):
        make_split(names, 0.5, 0, "made")


def test_published_manifests_are_whole(repository):
    paths = sorted((repository / "deploy/splits").glob("*.json"))
    assert len(paths) >= 12
    for path in paths:
        load_split(path)
