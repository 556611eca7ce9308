from __future__ import annotations

from pathlib import Path

import pytest

from shared_models.errors import ConfigError, StorageError
from vehicle_client.kept_name import FILE_NAME, check_name, keep_name, kept_name


def test_a_name_is_kept_from_its_first_use(tmp_path: Path):
    state = tmp_path / "new/state"
    assert kept_name(state) is None
    check_name(state, "car-1")
    assert not state.exists()
    keep_name(state, "car-1")
    keep_name(state, "car-1")
    assert kept_name(state) == "car-1"
    assert [path.name for path in state.iterdir()] == [FILE_NAME]


def test_another_name_is_refused_and_both_are_named(tmp_path: Path):
    keep_name(tmp_path, "car-1")
    for use in (check_name, keep_name):
        with pytest.raises(ConfigError, match="state of vehicle 'car-1', not of 'car-2'"):
            use(tmp_path, "car-2")
    assert kept_name(tmp_path) == "car-1"


@pytest.mark.parametrize("content", [b"", b"a/b\n", b"\xff\xfe", b"two\nlines\n"])
def test_a_damaged_name_is_not_guessed(tmp_path: Path, content: bytes):
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(StorageError, match="expected the vehicle's name"):
        kept_name(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        keep_name(tmp_path / "file", "car-1")
