from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.training.features.object_bank import FeatureBankConfig, load_bank
from shared_models.errors import BackboneMismatchError, DatasetError, InvalidValueError
from tests.feature_scenes import HASH, make_bank

NAMES = tuple(f"l{k}" for k in range(40))
ARRAYS = ("boxes", "labels", "coords", "features", "positions", "keypoint_features")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_saved_and_loaded(tmp_path, dtype):
    bank, path = make_bank(margin_m=0.4, dtype=dtype), tmp_path / "deep" / "bank.npz"
    bank.save(path)
    loaded = load_bank(path, NAMES, HASH)
    assert loaded.sha256 == bank.sha256
    assert (loaded.feature_map, loaded.config, loaded.keypoint_count) == (bank.feature_map, bank.config, 300)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(bank, name))
        assert getattr(loaded, name).dtype == getattr(bank, name).dtype
    assert [p.name for p in path.parent.iterdir()] == ["bank.npz"]


def test_a_bank_for_other_frames_or_another_backbone_is_refused(tmp_path):
    make_bank().save(tmp_path / "bank.npz")
    with pytest.raises(InvalidValueError, match="feature bank: frame l39 is not in the labelled split"):
        load_bank(tmp_path / "bank.npz", NAMES[:-1], HASH)
    with pytest.raises(BackboneMismatchError, match="the feature bank has 0123456789ab"):
        load_bank(tmp_path / "bank.npz", NAMES, "f" * 64)
    with pytest.raises(InvalidValueError, match="the frames that the bank was made of"):
        replace(make_bank(), frame_ids=frozenset(NAMES[:5]))


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "bank.npz"
    with pytest.raises(DatasetError, match="no readable feature bank"):
        load_bank(path, NAMES, HASH)
    make_bank().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="no readable feature bank"):
        load_bank(path, NAMES, HASH)
    path.write_bytes(whole)
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["features"] = arrays["features"] + np.float32(1)
    np.savez(path, **arrays)
    with pytest.raises(DatasetError, match="SHA-256 differs"):
        load_bank(path, NAMES, HASH)


def test_rows_of_objects():
    bank = make_bank()
    rows = np.array([7, 3, 7])
    owners, cells = bank.cells_of(rows)
    expected = [np.arange(bank.cell_offsets[r], bank.cell_offsets[r + 1]) for r in rows]
    np.testing.assert_array_equal(cells, np.concatenate(expected))
    np.testing.assert_array_equal(owners, np.repeat(np.arange(3), [len(e) for e in expected]))
    assert [len(a) for a in bank.keypoints_of(rows[:0])] == [0, 0]


def test_settings_are_checked():
    with pytest.raises(InvalidValueError, match="source: expected scene or object_only"):
        FeatureBankConfig(source="points")
    with pytest.raises(InvalidValueError, match="margin_m"):
        FeatureBankConfig(margin_m=-1)
    with pytest.raises(InvalidValueError, match="cell_offsets"):
        replace(make_bank(), cell_offsets=make_bank().cell_offsets + 1)
