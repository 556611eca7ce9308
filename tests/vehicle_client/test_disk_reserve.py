"""The reserve is made, spent once, lent to work that finds the disk full, and never in the way."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from vehicle_client.disk_reserve import DiskReserve, is_disk_full


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def test_it_takes_up_space_and_is_spent_once(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path / "reserve", 100_000)
    assert (reserve.keep(), reserve.keep()) == (True, True)
    status = (tmp_path / "reserve").stat()
    assert status.st_size == 100_000
    assert status.st_blocks * 512 >= 100_000  # really taken, not a hole
    assert (reserve.spend(), reserve.spend()) == (True, False)


@pytest.mark.parametrize("error", [full(), sqlite3.OperationalError("database or disk is full")])
def test_work_is_done_again_with_its_space(error: Exception, tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path / "reserve")
    reserve.keep()
    tries: list[bool] = []

    def work() -> str:
        tries.append((tmp_path / "reserve").exists())
        if len(tries) == 1:
            raise error
        return "done"

    assert reserve.lend_to(work) == "done"
    assert tries == [True, False]


def test_without_a_reserve_or_for_another_reason_the_error_stays(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path / "reserve")
    with pytest.raises(OSError, match="No space"):
        reserve.lend_to(lambda: (_ for _ in ()).throw(full()))
    reserve.keep()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        reserve.lend_to(lambda: (_ for _ in ()).throw(sqlite3.OperationalError("database is locked")))
    assert (tmp_path / "reserve").exists()


def test_no_room_for_the_reserve_is_no_error(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path / "missing" / "reserve")
    assert reserve.keep() is False
    assert reserve.spend() is False


def test_what_full_means() -> None:
    assert is_disk_full(full())
    assert is_disk_full(OSError(errno.EDQUOT, "quota"))
    assert not is_disk_full(OSError(errno.EACCES, "no"))
    assert not is_disk_full(ValueError("full"))
