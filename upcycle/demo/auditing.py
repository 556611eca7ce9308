"""A quick audit of exactly what the fleet uploaded."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from server.audit.audit_config import AuditConfig, load_audit
from server.audit.audited_detector import open_detector
from server.audit.page.page import write_page
from server.audit.page.source import read_audited
from server.audit.runner import AuditRun
from server.audit.scenes import AuditedVehicle, read_truths, scene_seed
from server.repositories.archive import open_archive
from server.repositories.repository import SceneFilter
from server.training.sources import open_source
from upcycle.demo.config import DemoConfig
from upcycle.demo.run_files import audit_table, write_table
from upcycle.demo.stages import Say


def audit(config: DemoConfig, checkpoint: Path, folder: Path, server_data: Path, say: Say) -> dict[str, Any]:
    """The audit's report, its page and command, and how many of the audited payloads are stored byte for byte.

    folder: for the audit's file and data.
    """
    file = write_table(folder / "audit.json", audit_table(config, checkpoint))
    loaded = load_audit(file)
    session = AuditRun(loaded, folder, "quick", tell=lambda what, done, total: say(f"{what} {done} of {total}"))
    report = session.run()
    say("the audit's own page")
    kept = write_table(session.folder.path / "report.json", report)
    page = session.folder.path / "report.html"
    write_page(page, read_audited(session.folder.path, kept))
    say("comparing payloads with those that are stored")
    audited, identical = _identical(loaded, folder, server_data)
    return {
        "report": report,
        "page": str(page),
        "command": ["upcycle", "audit", "--run", str(file), "--data", str(folder)],
        "audited_payloads": audited,
        "identical_payloads": identical,
    }


def _identical(config: AuditConfig, folder: Path, server_data: Path) -> tuple[int, int]:
    """Payloads that were audited, and those of them that the server has stored with every byte the same."""
    upload = config.upload
    vehicle = AuditedVehicle(open_detector(config.detector)[0], guard=upload.guard, codec=upload.codec)
    archive = open_archive(server_data)
    try:
        where = SceneFilter(codec=upload.codec, backbone_hash=vehicle.detector.backbone_hash)
        stored = {scene.manifest.payload_sha256 for scene in archive.catalogue.scenes(where)}
    finally:
        archive.close()
    audited = 0
    identical = 0
    for group in config.victims:
        source = open_source(group.frames, folder / "cache")
        for truth in read_truths(source.dataset, source.frame_ids, vehicle.geometry):
            payload = vehicle.payload(truth.points, scene_seed(config.seed, "victim", truth.scene_id))
            audited += 1
            identical += hashlib.sha256(payload).hexdigest() in stored
    return audited, identical
