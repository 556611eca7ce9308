"""Payloads to send, made once and kept in a file: of real scans, or simulated where there are none.

FOLDER/payloads.bin    the payloads, one after the other
FOLDER/index.json      sizes and hashes, and what they are
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared_models import codecs, detectors
from shared_models.errors import DatasetError
from shared_models.records import EncodedScene, GridFeatures, SceneFeatures, SceneManifest

_KEPT_SHARE = 0.9  # of a scan's points, drawn anew for each payload, so that no two are alike
SIMULATED_BACKBONE = "ab" * 32


class Payloads:
    """Scenes without end, numbered from 0: payloads in turn, each with a frame of its own."""

    def __init__(self, folder: Path) -> None:
        """Raises:
        DatasetError: nothing was written there.
        """
        self._path = folder / "payloads.bin"
        try:
            self.about: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DatasetError(f"{folder}: no payloads here; write_payloads makes them") from error
        sizes = self.about["sizes"]
        self._starts = [sum(sizes[:number]) for number in range(len(sizes))]

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def mean_bytes(self) -> int:
        """Of one payload."""
        return int(sum(self.about["sizes"])) // len(self)

    def payload(self, number: int) -> bytes:
        """The bytes of scene `number`."""
        index = number % len(self)
        with open(self._path, "rb") as file:
            file.seek(self._starts[index])
            return file.read(self.about["sizes"][index])

    def manifest(self, number: int, vehicle_id: str) -> SceneManifest:
        """The manifest of scene `number`; the same for the same arguments."""
        index = number % len(self)
        return SceneManifest(
            vehicle_id=vehicle_id,
            frame_id=f"{number:06d}",
            timestamp_ns=1_000 + number,
            codec=self.about["codec"],
            split_layer=self.about["split_layer"],
            backbone_hash=self.about["backbone_hash"],
            payload_sha256=self.about["sha256"][index],
            payload_bytes=self.about["sizes"][index],
        )

    def scene(self, number: int, vehicle_id: str) -> EncodedScene:
        """Scene `number` whole."""
        return EncodedScene(manifest=self.manifest(number, vehicle_id), payload=self.payload(number))


def write_payloads(folder: Path, features: Iterable[SceneFeatures], codec: str, source: str) -> Payloads:
    """Encode `features` into `folder`; `source` says what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes, hashes, names = [], [], {"backbone_hash": "", "split_layer": ""}
    with open(folder / "payloads.bin", "wb") as file:
        for each in features:
            payload = codecs.encode(each, codec)
            file.write(payload)
            sizes.append(len(payload))
            hashes.append(hashlib.sha256(payload).hexdigest())
            names = {"backbone_hash": each.backbone_hash, "split_layer": each.split_layer}
    if not sizes:
        raise DatasetError(f"{source}: no scans, so there is nothing to send")
    about = {"source": source, "codec": codec, **names, "sizes": sizes, "sha256": hashes}
    (folder / "index.json").write_text(json.dumps(about), encoding="utf-8")
    return Payloads(folder)


def real_features(scans: Path, count: int, setting: str, seed: int) -> Iterator[SceneFeatures]:
    """Features of `count` real scans (the folder's, in turn), each without a tenth of its points."""
    detector: Any = detectors.build("second_iou", setting, seed=0).eval()
    paths, rng = sorted(scans.glob("*.bin")), np.random.default_rng(seed)
    for number in range(count if paths else 0):
        points = np.fromfile(paths[number % len(paths)], "<f4").reshape(-1, 4)
        kept = points[rng.random(len(points)) < _KEPT_SHARE]
        with torch.no_grad():
            yield detector.extract(torch.from_numpy(kept))


def simulated_features(count: int, seed: int, cells: tuple[int, int] = (150, 600)) -> Iterator[SceneFeatures]:
    """Noise in the form of features: `count` scenes with `cells[0]` to `cells[1]` active cells of 64 channels."""
    generator, rng = torch.Generator().manual_seed(seed), random.Random(seed)
    for _ in range(count):
        active = rng.randint(*cells)
        cells_at = torch.randperm(50 * 44, generator=generator)[:active].sort().values
        coords = torch.stack([torch.zeros_like(cells_at), cells_at // 44, cells_at % 44], dim=1).int()
        grid = GridFeatures(coords=coords, features=torch.randn(active, 64, generator=generator), shape=(2, 50, 44))
        yield SceneFeatures(grid=grid, split_layer="conv_out", backbone_hash=SIMULATED_BACKBONE)
