"""One stored scene from above as JSON: its active cells, and what the server's detector finds in it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from server.dashboard.detection import SceneDetector
from server.dashboard.fleet_view import describe_scene
from server.repositories.access_log import Action
from server.repositories.archive import SceneArchive
from server.repositories.read_recorder import ReadRecorder
from shared_models import codecs
from shared_models.errors import UpcycleError
from shared_models.records import GridFeatures, SceneFeatures
from shared_models.visualisation.palette import colour_of

KEPT = 8  # views; a scene never changes, and one is up to a megabyte
DIGITS = 4


class SceneViewer:
    """Views of the scenes in an archive, the latest kept. Safe to use from several threads."""

    def __init__(
        self, archive: SceneArchive, detectors: Sequence[SceneDetector] = (), recorder: ReadRecorder | None = None
    ) -> None:
        """recorder: logs which scenes are looked at; None: nobody does."""
        self._archive, self._recorder = archive, recorder
        self._detectors = {detector.backbone_hash: detector for detector in detectors}
        self._kept: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def view(self, prefix: str) -> dict[str, Any]:
        """The scene whose id is or begins with `prefix`.

        Raises:
            NotFoundError: there is no such scene, or its payload is gone.
            StorageError, SenderError: its payload is damaged.
        """
        stored = self._archive.catalogue.get(prefix)
        if self._recorder is not None:
            self._recorder.record(Action.READ, stored.scene_id)
        with self._lock:  # a detector runs one scene at a time
            if stored.scene_id in self._kept:
                self._kept.move_to_end(stored.scene_id)
                return self._kept[stored.scene_id]
            features = codecs.decode(self._archive.encoded(stored).payload)
            view = {"scene": describe_scene(stored), **self._describe(features)}
            self._kept[stored.scene_id] = view
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return view

    def _describe(self, features: SceneFeatures) -> dict[str, Any]:
        detector = self._detectors.get(features.backbone_hash)
        keypoints = features.keypoints
        return {
            "cells": describe_cells(features.grid),
            "keypoints": None if keypoints is None else _rounded(keypoints.positions),
            "geometry": None if detector is None else detector.geometry(),
            "detections": self._detections(features, detector),
        }

    def _detections(self, features: SceneFeatures, detector: SceneDetector | None) -> dict[str, Any]:
        if detector is None:
            return {"reason": self._why_none(features.backbone_hash)}
        try:
            found = detector.detect(features)
        except UpcycleError as error:  # the cells can be shown all the same
            return {"reason": f"the detector refuses this scene: {error}"}
        return {
            "reason": None,
            "weights": detector.weights,
            "classes": [{"name": name, "colour": colour_of(name)} for name in found.class_names],
            "boxes": _rounded(found.boxes),
            "scores": _rounded(found.scores),
            "labels": found.labels.tolist(),
        }

    def _why_none(self, backbone_hash: str) -> str:
        if not self._detectors:
            return "no detector: start the dashboard with --checkpoint to see boxes, and the cells in metres"
        known = ", ".join(known[:12] for known in self._detectors)
        return f"the scene's backbone is {backbone_hash[:12]}, the dashboard's checkpoint has {known}"


def describe_cells(grid: GridFeatures) -> dict[str, Any]:
    """Columns of active cells seen from above.

    `x` and `y` are cell indices (forward, left), `value` the mean absolute activation over a column's active cells and
    all channels; `shape` is (D, H, W), `active` the number of active cells V.
    """
    width = grid.shape[2]
    columns, rows = torch.unique(grid.coords[:, 1].long() * width + grid.coords[:, 2].long(), return_inverse=True)
    strength = grid.features.abs().mean(1) if grid.features.shape[1] else grid.features.new_zeros(len(grid))
    total = torch.zeros(len(columns), dtype=torch.float64).index_add_(0, rows, strength.double())
    mean = total / torch.bincount(rows, minlength=len(columns)).clamp(min=1)
    return {
        "shape": list(grid.shape),
        "channels": grid.features.shape[1],
        "active": len(grid),
        "x": (columns % width).tolist(),
        "y": (columns // width).tolist(),
        "value": [float(f"{value:.{DIGITS}g}") for value in mean.tolist()],
    }


def _rounded(values: Tensor) -> list[Any]:
    rounded: list[Any] = torch.round(values.double(), decimals=3).tolist()
    return rounded
