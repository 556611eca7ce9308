"""What the page is made of: a report, the configuration beside it, and the scans that were kept for pictures."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from server.audit.report_file import read_report
from server.audit.results import file_stem
from shared_models.errors import ConfigError, StorageError

REPORT_FILE, CONFIG_FILE = "report.json", "config.json"
WORDS: Final = {"most": "restored most", "middle": "in the middle", "least": "restored least"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredScene:
    """One scene of a group beside what an attack made of it.

    word: which scene it is, as in `WORDS`, for this attack. truth, found: (N, 3 or more) float32, metres, LiDAR frame.
    """

    group: str
    word: str
    scene_id: str
    truth: NDArray[np.float32]
    found: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedReport:
    """A report with what lies beside it.

    report: as in docs/audit-report.schema.json. config: the effective configuration, None where it is not there.
    scenes: by title of the attack; empty where none were kept or none are wanted.
    """

    report: Mapping[str, Any]
    config: Mapping[str, Any] | None = None
    scenes: Mapping[str, tuple[RestoredScene, ...]] = field(default_factory=dict)

    @property
    def layer(self) -> str:
        """The layer whose features were attacked."""
        return str(self.report["scope"]["split_layer"])


def read_audited(folder: Path, report: Path | None = None, *, with_scenes: bool = True) -> AuditedReport:
    """The report in an audit's folder.

    report: of a file elsewhere. with_scenes: also read the scans for pictures.

    Raises:
        ConfigError: there is no report, or it is not one.
        StorageError: a file of scans is damaged.
    """
    table = read_report(report or folder / REPORT_FILE)
    config = folder / CONFIG_FILE
    titles = [str(each["title"]) for each in table["attacks"]] if with_scenes else []
    return AuditedReport(
        report=table,
        config=_table(config) if config.exists() else None,
        scenes={title: found for title in titles if (found := _scenes(folder / f"{file_stem(title)}.npz"))},
    )


def _table(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); delete it to make the page without it") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected a table, got a {type(found).__name__}")
    return found


def _scenes(path: Path) -> tuple[RestoredScene, ...]:
    if not path.exists():
        return ()
    try:
        with np.load(path, allow_pickle=False) as file:
            clouds = {name: np.asarray(file[name], np.float32) for name in file.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise StorageError(f"{path}: cannot be read ({error}); delete it, or leave pictures out") from error
    return tuple(
        RestoredScene(group=group, word=word, scene_id=scene_id, truth=clouds[name], found=clouds[other])
        for name in clouds
        for group, word, scene_id, which in [_parts(name)]
        if which == "truth" and (other := f"{group}|{word}|{scene_id}|found") in clouds
    )


def _parts(name: str) -> tuple[str, str, str, str]:
    """Group, word, scene and cloud of "group|word|scene|truth"; a scene's name may have bars of its own."""
    front, _, which = name.rpartition("|")
    group, word, scene_id = (*front.split("|", 2), "", "")[:3]
    return group, word, scene_id, which
