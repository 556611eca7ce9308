"""Objects found in the reconstructions of another attack."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.audit.attacks.active_cells import ActiveCells
from server.audit.audit_config import AttackConfig
from server.audit.families.reconstruction import ReconstructionFamily
from shared_models.errors import StorageError


@pytest.mark.usefixtures("finds_bunches")
def test_reconstructions_are_taken_as_they_were_kept(run, stage) -> None:
    """Restored to the last point, it is the ceiling; nothing restored, nothing found."""
    for number, truth in enumerate(stage.groups[0].victims.truths):
        stage.folder.keep_scan("perfect", "v", number, truth.points)
        stage.folder.keep_scan("nothing", "v", number, truth.points[:0, :3])
    perfect, nothing = run("detector", on="perfect").groups["v"], run("detector", on="nothing").groups["v"]
    assert perfect["estimates"] == perfect["ceilings"]["raw points"]
    assert perfect["estimates"]["Car/objects"]["mean"] == 4
    assert perfect["estimates"]["Car/recall_loose"]["mean"] > 0
    assert nothing["estimates"]["Car/found_loose"]["mean"] == 0
    assert nothing["ceilings"] == perfect["ceilings"]
    assert set(nothing["floors"]) == {"random points", "mean scene"}
    assert any("Pedestrian" in note for note in nothing["notes"])


@pytest.mark.usefixtures("finds_bunches")
def test_scans_are_kept_for_an_attack_that_looks_at_them(run, stage) -> None:
    cells = AttackConfig(attack="active_cells", label="cells", threat="all")
    looking = AttackConfig(attack="detector", threat="all", settings={"on": "cells", "least_score": 0.3})
    stage.audit = replace(stage.audit, attacks=(cells, looking))
    ReconstructionFamily().run(ActiveCells(), stage.audit.attacks[0], stage)
    found = run("detector", on="cells").groups["v"]
    assert found["estimates"]["Car/objects"]["mean"] == 4
    path = next(stage.folder.path.rglob("scans/v/000002.npy"))
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(StorageError, match=r"cannot be read.*delete cells\.json"):
        run("detector", on="cells")
    path.unlink()
    with pytest.raises(StorageError, match=r"delete cells\.json"):
        run("detector", on="cells")
