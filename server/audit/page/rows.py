"""Which rows tables have: floors, attacks and ceilings for one group of victims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from server.audit.page.numbers import ABOVE, CEILING, FLOOR, mean_of, middle_threshold

RECONSTRUCTION: Final = "reconstruction"
TRIVIAL: Final = ("active_cells", "keypoint_list", "mean_scene")  # read or guess, and train nothing

GUESS: Final = "mean_scene"
CELLS: Final = "active_cells"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table: who, and what came back.

    threat: name of the threat of an attack, "" for floors and ceilings.
    is_trivial: an attack that trains nothing. is_guess: one that looks at no payload, and is a floor therefore.
    reads_cells: one that only reads which cells are active.
    """

    title: str
    estimates: Mapping[str, Any]
    threat: str = ""
    is_trivial: bool = False
    is_guess: bool = False
    reads_cells: bool = False

    @property
    def is_control(self) -> bool:
        """A floor or a ceiling, not an attack."""
        return not self.threat


def attacks_of(report: Mapping[str, Any], kind: str = RECONSTRUCTION) -> list[Mapping[str, Any]]:
    """The attacks of one kind; a report without kinds has reconstructions only."""
    return [each for each in report["attacks"] if each.get("kind", RECONSTRUCTION) == kind]


def control_rows(report: Mapping[str, Any], group: str, kind: str) -> list[Row]:
    """Floors or ceilings, weakest first."""
    found = [
        Row(title=name, estimates=groups[group]["estimates"])
        for name, groups in report["controls"].items()
        if name.startswith(kind) and group in groups
    ]
    return sorted(found, key=lambda row: headline(row.estimates))


def attack_rows(report: Mapping[str, Any], group: str, is_trivial: bool | None = None) -> list[Row]:
    """Attacks on a group in the report's order; only trivial ones or only others where `is_trivial` says so."""
    rows = [
        Row(
            title=each["title"],
            estimates=each["groups"][group]["estimates"],
            threat=each["threat"],
            is_trivial=each["attack"] in TRIVIAL,
            is_guess=each["attack"] == GUESS,
            reads_cells=each["attack"] == CELLS,
        )
        for each in attacks_of(report)
        if group in each["groups"]
    ]
    return [row for row in rows if is_trivial in (None, row.is_trivial)]


def all_rows(report: Mapping[str, Any], group: str) -> list[Row]:
    """Floors, attacks, ceilings."""
    floors, ceilings = control_rows(report, group, FLOOR), control_rows(report, group, CEILING)
    return [*floors, *attack_rows(report, group), *ceilings]


def headline_name(estimates: Mapping[str, Any]) -> str:
    """The measure by which attacks are compared: above the ground, because a guess finds most of the ground."""
    name = f"f_score_{middle_threshold(estimates)}"
    return ABOVE + name if ABOVE + name in estimates else name


def headline(estimates: Mapping[str, Any]) -> float:
    """That measure's mean; 0 where there is none."""
    return mean_of(estimates, headline_name(estimates)) or 0.0


def strongest(rows: Sequence[Row]) -> Row | None:
    """The row that recovered most, the first of equals."""
    return max(rows, key=lambda row: headline(row.estimates), default=None)


def strongest_attack(rows: Sequence[Row]) -> Row | None:
    """The attack that recovered most; one that looks at no payload counts only where there is no other."""
    return strongest([row for row in rows if not row.is_guess] or rows)


def victims_words(group: Mapping[str, Any]) -> str:
    """A group of victims in words, which say so where they are simulated."""
    kind = "SIMULATED" if group["is_simulated"] else "real"
    return f"{group['name']}: {len(group['scenes'])} {kind} scenes, {group['relation']}"
