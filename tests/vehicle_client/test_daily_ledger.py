from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared_models.errors import StorageError, StorageFullError
from vehicle_client import daily_ledger
from vehicle_client.daily_ledger import RESERVED_BYTES, DailyLedger, iso_date

DAY = 20_778  # 2026-11-21


def test_days_have_dates():
    assert iso_date(DAY) == "2026-11-21"
    assert iso_date(0) == "1970-01-01"
    assert (iso_date(-(10**9)), iso_date(10**9)) == ("0001-01-01", "9999-12-31")


def test_a_budget_is_spent_once(tmp_path: Path):
    ledger = DailyLedger(tmp_path / "sent.json")
    assert [ledger.take(DAY, "wifi", 400, 1000) for _ in range(3)] == [True, True, False]
    assert ledger.take(DAY, "wifi", 200, 1000)
    assert ledger.take(DAY, "cellular", 1000, 1000)
    assert ledger.take(DAY + 1, "wifi", 1000, 1000)
    assert ledger.spent(DAY, "wifi") == 1000


def test_a_clean_end_keeps_the_exact_numbers(tmp_path: Path):
    path = tmp_path / "new/sent.json"
    ledger = DailyLedger(path)
    ledger.take(DAY, "wifi", 400, 1 << 30)
    ledger.take(DAY, "ethernet", 7, None)
    ledger.close()
    assert json.loads(path.read_text())["days"] == {"2026-11-21": {"wifi": 400, "ethernet": 7}}
    again = DailyLedger(path)
    assert (again.spent(DAY, "wifi"), again.spent(DAY, "ethernet"), again.spent(DAY, "cellular")) == (400, 7, 0)


def test_a_crash_loses_at_most_the_reserve_and_gives_no_byte_twice(tmp_path: Path):
    """What a new process finds on disk after each grant is never less than what was granted."""
    path, budget, granted = tmp_path / "sent.json", 5 * RESERVED_BYTES, 0
    ledger = DailyLedger(path)
    for _ in range(30):
        granted += ledger.take(DAY, "wifi", 200_000, budget) * 200_000
        found = DailyLedger(path).spent(DAY, "wifi")
        assert granted <= found <= min(budget, granted + RESERVED_BYTES)
    assert budget - 200_000 < granted <= budget


def test_a_process_that_is_killed_again_and_again_stays_within_the_budget(tmp_path: Path):
    granted, budget = 0, 10 * RESERVED_BYTES
    for _ in range(50):
        ledger = DailyLedger(tmp_path / "sent.json")  # no close: killed
        granted += sum(100_000 for _ in range(3) if ledger.take(DAY, "wifi", 100_000, budget))
    assert 0 < granted <= budget


def test_it_writes_once_in_so_many_bytes(tmp_path: Path, monkeypatch):
    writes: list[int] = []
    monkeypatch.setattr(daily_ledger, "write_durably", lambda path, data: writes.append(len(data)))
    ledger = DailyLedger(tmp_path / "sent.json")
    for _ in range(100):
        ledger.take(DAY, "wifi", RESERVED_BYTES // 10, 1 << 40)
    assert len(writes) == 10


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"days": {"tomorrow": {}}}', '{"days": {"2026-11-21": {"wifi": "much"}}}', '{"days": 3}']
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str):
    path = tmp_path / "sent.json"
    path.write_text(text)
    with pytest.raises(StorageError, match="sent.json.*remove it"):
        DailyLedger(path)


def test_what_cannot_be_written_down_is_not_granted(tmp_path: Path, monkeypatch):
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    ledger = DailyLedger(tmp_path / "sent.json")
    monkeypatch.setattr(daily_ledger, "write_durably", full)
    with pytest.raises(StorageFullError, match="sent.json"):
        ledger.take(DAY, "wifi", 1, 100)
    assert ledger.spent(DAY, "wifi") == 0


TAKING = """
import sys
from pathlib import Path
from vehicle_client.daily_ledger import DailyLedger
ledger = DailyLedger(Path(sys.argv[1]))
while ledger.take(20778, "wifi", 50_000, 30 << 20):
    print("taken", flush=True)
print("spent", flush=True)
"""


def test_kill_9_at_any_moment_gives_no_byte_twice(tmp_path: Path, repository: Path):
    path, taken = tmp_path / "sent.json", 0
    for lines in (1, 40, 23, 10_000):
        command = [sys.executable, "-c", TAKING, str(path)]
        with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            seen = 0
            for line in process.stdout:
                seen += line == "taken\n"
                if seen == lines or line == "spent\n":
                    process.kill()
            taken += seen  # what was printed before the kill came is read as well
        assert taken * 50_000 <= DailyLedger(path).spent(DAY, "wifi") <= 30 << 20
    assert taken * 50_000 > 30 * RESERVED_BYTES - 4 * RESERVED_BYTES
