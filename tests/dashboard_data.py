"""What the dashboard's tests show: scenes of two vehicles, three runs, and a client without a network."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import httpx
import torch
from fastapi import FastAPI

from server.repositories.archive import SceneArchive, open_archive, open_run_log
from server.repositories.run_log import EvaluationRecord, RunLog, Scalar
from server.training.follow_records import FollowRecords, RoundRecord, SceneDecision
from shared_models import codecs
from shared_models.records import EncodedScene, GridFeatures, SceneFeatures, SetFeatures
from tests.loopback import BACKBONE, make_scene
from tests.run_records import make_run

SECOND_NS = 10**9
STORED_NS = 1_700_000_000 * SECOND_NS  # 2023-11-14T22:13:20Z
NOW_NS = STORED_NS + 3600 * SECOND_NS
MAP = (2, 50, 44)


class Client:
    """Asks an application as a browser on this machine would."""

    def __init__(self, app: FastAPI) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    def request(self, method: str, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://127.0.0.1:8350") as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(ask())

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.request("GET", path, headers)


def make_data(folder: Path, backbone_hash: str) -> None:
    """A data folder with 30 scenes of one vehicle, one of another backbone and vehicle, and three runs."""
    archive, log = open_archive(folder, is_new_allowed=True), open_run_log(folder, is_new_allowed=True)
    _fill_scenes(archive, backbone_hash)
    _fill_runs(log)
    _fill_following(FollowRecords(folder / "runs" / "run-0"))
    archive.close()
    log.close()


def make_features(backbone_hash: str, seed: int = 0, keypoints: SetFeatures | None = None) -> SceneFeatures:
    """300 active cells with noise in them."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(MAP[1] * MAP[2], generator=generator)[:300].sort().values
    coords = torch.stack([torch.zeros_like(cells), cells // MAP[2], cells % MAP[2]], dim=1).int()
    grid = GridFeatures(coords=coords, features=torch.randn(300, 64, generator=generator), shape=MAP)
    return SceneFeatures(grid=grid, keypoints=keypoints, split_layer="conv_out", backbone_hash=backbone_hash)


def encode(features: SceneFeatures, number: int, vehicle: str = "car-1") -> EncodedScene:
    """The scene as a vehicle sends it."""
    payload = codecs.encode(features, "float32")
    manifest = replace(
        make_scene(number, vehicle=vehicle, codec="float32", backbone_hash=features.backbone_hash).manifest,
        payload_sha256=hashlib.sha256(payload).hexdigest(),
        payload_bytes=len(payload),
    )
    return EncodedScene(manifest=manifest, payload=payload)


def store(archive: SceneArchive, scene: EncodedScene, stored_at_ns: int = STORED_NS) -> str:
    """Put a scene into an archive; its id."""
    partial = archive.store.open_partial(scene.manifest.scene_id)
    partial.append(scene.payload)
    partial.commit()
    archive.catalogue.add(scene.manifest, stored_at_ns=stored_at_ns)
    return scene.manifest.scene_id


def _fill_scenes(archive: SceneArchive, backbone_hash: str) -> None:
    for number in range(30):
        store(archive, encode(make_features(backbone_hash, number), number), STORED_NS + number * SECOND_NS)
    keypoints = SetFeatures(positions=torch.tensor([[1.0, 2.0, 0.5]]), features=torch.ones(1, 8))
    store(archive, encode(make_features(BACKBONE, 99, keypoints), 0, vehicle="car-2"))


def _fill_runs(log: RunLog) -> None:
    for number, state in enumerate(("finished", "running", "running")):
        run_id = f"run-{number}"
        log.create(make_run(run_id, name=f"trial {number}", seed=number, created_at_ns=NOW_NS - 600 * SECOND_NS))
        log.write_scalars(
            [
                Scalar(run_id=run_id, step=step, name=name, value=(number + 1) / (step + 1), at_ns=STORED_NS)
                for step in range(0, 50, 5)
                for name in ("loss/box", "loss/total", "lr")
            ]
        )
        for step in (20, 40):
            measured = {"3d": [step / 1.0, step / 2.0, step / 4.0]}
            report = json.dumps({"ap_all": {"car": measured}, "objects": {"car": [9, 12, None]}})
            log.add_evaluation(EvaluationRecord(run_id=run_id, step=step, report=report, at_ns=STORED_NS))
        at_ns = NOW_NS - (5 if number != 2 else 300) * SECOND_NS
        log.update(run_id, at_ns=at_ns, state=state, step=45)  # type: ignore[arg-type]


def _fill_following(records: FollowRecords) -> None:
    """Two rounds, the second one refused, and four scenes in three states."""
    empty = {"statistic": "features/zeros", "value": 1.0, "expected": 0.52, "distance": 9.6}
    records.decide(
        SceneDecision(scene_id=key * 64, vehicle="010c4b60", state=state, round=1, at_ns=STORED_NS, distance=distance,
                      reasons=reasons)  # type: ignore[arg-type]
        for key, state, distance, reasons in (
            ("a", "admitted", 1.1, ()),
            ("b", "quarantined", 9.6, (empty,)),
            ("c", "quarantined", 9.6, (empty,)),
            ("d", "removed", None, ()),
        )
    )  # fmt: skip
    for number, last_step, is_passed in ((0, 0, True), (1, 20, False)):
        records.add_round(
            RoundRecord(
                number=number,
                first_step=0,
                last_step=last_step,
                scenes=number,
                admitted=number,
                quarantined=2 * number,
                removed=number,
                is_passed=is_passed,
                why="what the run began with" if is_passed else "Car -8.0 points",
                checkpoint=f"step-{last_step:08d}",
                at_ns=STORED_NS,
                scores={"Car": 59.5 - 8 * number},
            )
        )
