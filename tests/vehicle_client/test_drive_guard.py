"""Which guard a drive applies."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared_models import guards
from shared_models.errors import ConfigError, GuardRefusedError, StorageError, UnknownNameError
from tests.loopback import make_policy
from vehicle_client.drive_guard import DriveGuard

DECOYS = make_policy(guard="decoys,share=0.25")


def made(state: Path, own: str = "", is_detecting: bool = True) -> DriveGuard:
    return DriveGuard(own, state, is_detecting)


def test_the_servers_guard_is_applied(tmp_path: Path) -> None:
    guard = made(tmp_path)
    guard.check(DECOYS)
    assert guard.now(DECOYS) == "decoys,share=0.25"
    assert guard.now(make_policy(guard="none")) == "none"


@pytest.mark.parametrize(("own", "applied"), [("", guards.DEFAULT), ("noise", "noise")])
def test_a_server_that_names_none_leaves_it_to_the_vehicle(own: str, applied: str, tmp_path: Path) -> None:
    assert made(tmp_path, own).now(make_policy()) == applied
    assert made(tmp_path, own).now(None) == applied
    assert not list(tmp_path.iterdir())


def test_what_the_server_asked_for_last_holds_while_it_is_away(tmp_path: Path) -> None:
    state = tmp_path / "car"
    made(state).now(DECOYS)
    assert made(state).now(None) == "decoys,share=0.25"
    assert made(state, own="none").now(None) == "none"  # who says it on the command line means it
    made(state).now(make_policy())
    assert made(state).now(None) == guards.DEFAULT


def test_the_server_may_change_its_mind_while_the_vehicle_drives(tmp_path: Path) -> None:
    guard = made(tmp_path)
    assert [guard.now(policy) for policy in (None, DECOYS, make_policy(guard="coarse,side=2"))] == [
        guards.DEFAULT,
        "decoys,share=0.25",
        "coarse,side=2",
    ]
    assert made(tmp_path).now(None) == "coarse,side=2"


def test_own_guard_that_is_the_servers(tmp_path: Path) -> None:
    made(tmp_path, own="decoys,share=0.25").check(DECOYS)
    made(tmp_path, own="decoys").check(make_policy(guard="decoys,share=0.5"))  # its default


@pytest.mark.parametrize(
    ("own", "asked", "is_detecting", "message"),
    [
        ("decoys", "decoys,share=0.25", True, "this drive has --guard 'decoys,share=0.5': leave out --guard"),
        ("none", "decoys,share=0.25", True, "leave out --guard"),
        ("", "magic", True, "cannot apply .unknown guard 'magic'.*update the vehicle"),
        ("", "decoys,colour=3", True, "cannot apply .*colour.*update the vehicle"),
        ("", "decoys", True, "this version would apply 'decoys,share=0.5': update the older side"),
        ("", guards.build("drop_people").described(), False, "leave out --no-detections"),
    ],
)
def test_a_guard_that_this_vehicle_does_not_apply(
    own: str, asked: str, is_detecting: bool, message: str, tmp_path: Path
) -> None:
    guard = made(tmp_path, own, is_detecting)
    for call in (guard.check, guard.now):
        with pytest.raises(GuardRefusedError, match=message):
            call(make_policy(guard=asked))
    assert not list(tmp_path.iterdir())


def test_own_guard_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError):
        made(tmp_path, own="magic")
    with pytest.raises(ConfigError):
        made(tmp_path, own="decoys,share=-1")
    with pytest.raises(ConfigError, match="leave out --no-detections"):
        made(tmp_path, own="drop_people", is_detecting=False)


def test_a_damaged_or_unwritable_state(tmp_path: Path) -> None:
    (tmp_path / "guard").write_bytes(b"\xff")
    with pytest.raises(StorageError, match="delete it"):
        made(tmp_path).now(None)
    (tmp_path / "guard").write_text("magic\n")
    with pytest.raises(GuardRefusedError, match="magic"):
        made(tmp_path).now(None)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        made(tmp_path / "file").now(DECOYS)
