"""A detector and a dataset small enough to follow by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from protos.policy import Limits, Policy, ServerTerms
from shared_models import codecs, guards
from shared_models.dataset import Dataset
from shared_models.errors import DatasetError, ServerUnreachableError
from shared_models.records import Detections, EncodedScene, Frame, GridFeatures, SceneFeatures
from vehicle_client import drive
from vehicle_client.outbox import Outbox
from vehicle_client.priority import Priority
from vehicle_client.uploader import UploadReport


class CountingDetector:
    """Every occupied square metre is a cell whose one feature is its number of points; each is "detected"."""

    backbone_hash = "ab" * 32
    split_layer = "conv_out"
    point_fields = ("x", "y", "z", "intensity")

    def __init__(self) -> None:
        self.is_training = True
        self.has_gradients = True
        self.inference_modes: list[bool] = []

    def extract(self, points: torch.Tensor) -> SceneFeatures:
        self.inference_modes.append(torch.is_inference_mode_enabled())
        cells = points[:, :2].floor().to(torch.int32).clamp(0, 49).unique(dim=0, return_counts=True)
        coords = torch.cat([torch.zeros_like(cells[0][:, :1]), cells[0]], dim=1)
        grid = GridFeatures(coords=coords, features=cells[1][:, None].float(), shape=(1, 50, 50))
        return SceneFeatures(grid=grid, split_layer="conv_out", backbone_hash=self.backbone_hash)

    def detect(self, features: SceneFeatures) -> Detections:
        count = len(features.grid)
        return Detections(
            boxes=torch.ones(count, 7),
            scores=torch.linspace(1, 0, count),
            labels=torch.zeros(count, dtype=torch.int64),
            class_names=("Car",),
        )

    def eval(self) -> None:
        self.is_training = False

    def requires_grad_(self, requires_grad: bool = True) -> None:
        self.has_gradients = requires_grad


class ListDataset(Dataset):
    """Frames `0`, `1`, ...; those in `broken` cannot be read."""

    def __init__(self, count: int, broken: tuple[int, ...] = ()) -> None:
        self._ids = tuple(str(i) for i in range(count))
        self._broken = {str(i) for i in broken}

    @classmethod
    def open(cls, root: Path, split: str = "all") -> ListDataset:
        return cls(int(root.name))

    @property
    def frame_ids(self) -> tuple[str, ...]:
        return self._ids

    def frame(self, frame_id: str) -> Frame:
        if frame_id in self._broken:
            raise DatasetError(f"{frame_id}.bin: expected a multiple of 16 bytes, got 5")
        points = np.random.default_rng(int(frame_id)).uniform(0, 10, size=(30, 4)).astype(np.float32)
        return Frame(frame_id=frame_id, points=points)


class ListSink:
    """Keeps scenes in a list."""

    def __init__(self) -> None:
        self.scenes: list[EncodedScene] = []
        self.priorities: list[Priority] = []

    def put(self, scene: EncodedScene, priority: Priority = Priority.ROUTINE) -> bool:
        self.scenes.append(scene)
        self.priorities.append(priority)
        return True


class FakeBackground:
    """Takes what waits in the outbox when the drive ends, as a server that is always slower than the detector."""

    def __init__(self, uploader: FakeUploader, outbox: Outbox) -> None:
        self.uploader, self.outbox = uploader, outbox

    def __enter__(self) -> FakeBackground:
        return self

    def __exit__(self, *exception: object) -> None:
        self.uploader.is_stopped = True

    def check(self) -> None:
        if self.uploader.fails_after is not None and self.outbox.counts().pending >= self.uploader.fails_after:
            raise ServerUnreachableError("gave up after 60 s without progress")

    def finish(self) -> UploadReport:
        stored = 0
        while (manifest := self.outbox.next_pending()) is not None:
            self.uploader.received.append(self.outbox.load(manifest.scene_id))
            self.outbox.mark_delivered(manifest.scene_id)
            stored += 1
        return UploadReport(
            stored=stored, already_stored=0, refusals=self.uploader.refusals, payload_bytes=1, chunks=1, streams=1
        )


class FakeUploader:
    """Stands for `Uploader`; what it does is set on the class for each test."""

    received: list
    refusals: tuple = ()
    fails_after: int | None = None
    handshake_error: Exception | None = None
    is_stopped = False
    accepted = frozenset(codecs.CODECS)
    max_payload = 64 << 20

    def __init__(self, target, identity, config, gate=None, tls=None) -> None:
        type(self).identity, type(self).tls = identity, tls
        self.terms: ServerTerms | None = None

    def handshake(self) -> ServerTerms:
        if self.handshake_error is not None:
            raise self.handshake_error
        policy = Policy(backbone_hashes=None, codecs=self.accepted, limits=Limits(max_payload_bytes=self.max_payload))
        self.terms = ServerTerms(protocol_version=1, policy=policy)
        return self.terms

    def in_background(self, outbox: Outbox) -> FakeBackground:
        return FakeBackground(self, outbox)


@pytest.fixture
def uploader(monkeypatch) -> type[FakeUploader]:
    fake = type("Uploader", (FakeUploader,), {"received": []})
    monkeypatch.setattr(drive, "Uploader", fake)
    return fake


@pytest.fixture(autouse=True)
def no_guard_by_default(monkeypatch) -> None:
    """Whatever the project recommends: most guards need a detector that knows where its cells lie, unlike these."""
    monkeypatch.setattr(guards, "DEFAULT_GUARD", "none")


@pytest.fixture
def detector() -> CountingDetector:
    return CountingDetector()


@pytest.fixture
def sink() -> ListSink:
    return ListSink()


@pytest.fixture
def list_dataset() -> type[ListDataset]:
    return ListDataset
