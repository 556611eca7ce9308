"""UpCycling (Hwang et al., ICCV 2023): learning from stored features of unlabelled scenes.

Labelled scans go through the frozen vehicle part; unlabelled scenes come from the server's store as features, get
objects of labelled scenes pasted in (F-GT), and are learned from with hybrid pseudo labels: the teacher's sure boxes
and the pasted objects' exact ones. What the paper leaves open is a setting; see docs/upcycling.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from server.training.augmentations.statistical_normalisation import StatisticalNormalisation
from server.training.batches import Sample
from server.training.features.bank_building import build_bank
from server.training.features.chain import compose_features
from server.training.features.extraction import extract_points
from server.training.features.geometry import FeatureMap
from server.training.features.object_bank import FeatureBank
from server.training.features.scene import FeatureScan
from server.training.frozen import freeze_vehicle_part, train_server_part
from server.training.guarding import GuardedScenes
from server.training.labelled_preparation import labelled_preparation, scans_in_range
from server.training.objective import TermSelection
from server.training.pseudo_label_quality import LabelQuality, label_quality
from server.training.pseudo_labels import choose, choose_scored
from server.training.pseudo_telemetry import PseudoCounts, PseudoTelemetry
from server.training.recipe import Prepared, Recipe, RecipeSetup
from server.training.samples import LabelledScan, Truth
from server.training.seen_scenes import SeenScenes
from server.training.sources import fleet_id
from server.training.step_module import StepInput
from server.training.stored_features import StoreConfig, StoredScenes, record_training
from server.training.teacher import Teacher
from server.training.two_streams import TwoStreams
from server.training.upcycling_config import UpcyclingConfig
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.detectors.batch_input import BatchInput
from shared_models.errors import NotFoundError, UpcycleError
from shared_models.records import SceneFeatures

# A stored scene: its number in the store, its features, and the generator of its augmentation.
Stored = tuple[int, SceneFeatures, np.random.Generator]


class Upcycling(Recipe):
    """Everything behind the cut is trained; the vehicle part keeps every bit."""

    name = "upcycling"
    config_class = UpcyclingConfig
    config: UpcyclingConfig

    def __init__(self, setup: RecipeSetup, config: UpcyclingConfig) -> None:
        super().__init__(setup, config)
        detector = setup.detector
        freeze_vehicle_part(detector)
        detector.eval()
        self._teacher = Teacher(detector, config.teacher)
        self._guard = GuardedScenes(config.store.guard)
        bank = self._build_bank() if config.features.needs_bank else None
        self._augment_features = compose_features(config.features, FeatureMap.of(detector.config.voxels), bank)
        self._prepare_labelled = labelled_preparation(setup, config.database_min_points)
        self.known_labels: Mapping[str, Truth] = {}
        self._seen_earlier = SeenScenes()
        self._learn_from(self._first_scenes())

    def _first_scenes(self) -> StoredScenes:
        """Those of the store; a run that follows it is given its scenes later (`learn_from`)."""
        setup = self.setup
        if setup.run.follow.is_on:
            return StoredScenes.none()
        return StoredScenes.open(setup.data, setup.detector.backbone_hash, self.store_config)

    @property
    def store_config(self) -> StoreConfig:
        """Which stored scenes may be learned from: those of `data.unlabelled` where a run names one and no vehicle."""
        return _store_config(self.setup, self.config.store)

    @property
    def teacher(self) -> AnchorDetector:
        """The teacher as it is now, in evaluation mode."""
        return self._teacher.detector

    @property
    def scenes(self) -> StoredScenes:
        """The stored scenes that are learned from."""
        return self._store

    def stored_now(self) -> StoredScenes:
        """The scenes that are stored now and could be learned from; none where nobody has stored anything yet."""
        setup = self.setup
        layer = setup.detector.split_layer
        try:
            return StoredScenes.look(setup.data, setup.detector.backbone_hash, self.store_config, layer)
        except NotFoundError:
            return StoredScenes.none()

    def learn_from(self, scenes: StoredScenes) -> None:
        """Go on with these stored scenes; it stays known which were learned from before. Between calls of `batches`."""
        record_training(self.setup.data, self.store_config, scenes)
        self._seen_earlier = self._seen_earlier.joined(self._seen_now())
        self._learn_from(scenes)

    def _build_bank(self) -> FeatureBank:
        setup = self.setup
        guard = self._guard if self._guards_labelled else None
        return build_bank(self._bank_scans(), setup.allowed_labels, setup.detector, self.config.bank, guard)

    def _bank_scans(self) -> Iterator[LabelledScan]:
        """The labelled scans; where objects get the target domain's sizes, so do those that will be pasted."""
        augmentation, scans = self.setup.run.augmentation, scans_in_range(self.setup)
        if "statistical_normalisation" not in augmentation.order:
            return scans
        resize = StatisticalNormalisation(augmentation.statistical_normalisation)
        return (resize.apply(scan, np.random.default_rng(0)) for scan in scans)  # draws nothing

    def _learn_from(self, store: StoredScenes) -> None:
        """Take the scenes of `store`; none of them is seen yet."""
        setup = self.setup
        self._store = store
        self._is_seen = torch.zeros(len(store), dtype=torch.bool)
        self._opened = self._open_streams() if len(store) else None
        vehicles = [scene.manifest.vehicle_id for scene in store.scenes]
        self._telemetry = PseudoTelemetry(setup.processes, setup.device, setup.run.loop.log_every, vehicles)

    def _open_streams(self) -> TwoStreams:
        return TwoStreams(
            self.setup,
            (self._prepare_labelled, len(self.setup.labelled)),
            (self._prepare_stored, len(self._store)),
            self.config.repeat,
            self.config.unlabelled_ratio,
        )

    @property
    def _streams(self) -> TwoStreams:
        return self._opened or self._open_streams()  # without a scene it says so

    @property
    def steps_per_epoch(self) -> int:
        return self._streams.steps_per_epoch

    @property
    def waited_s(self) -> float:
        return self._streams.waited_s

    def batches(self, steps: range) -> AbstractContextManager[Iterator[Prepared]]:
        return self._streams.batches(steps)

    def _prepare_stored(self, sample: Sample) -> Stored:
        try:
            return sample.index, self._store.features(sample.index), sample.rng()
        except UpcycleError as error:
            error.args = (f"stored scene {self._store.scenes[sample.index].scene_id[:12]}: {error}", *error.args[1:])
            raise

    def compose(self, prepared: Prepared) -> StepInput:
        labelled, stored = prepared.samples
        scenes = self._with_pseudo_labels(stored, prepared.step + 1)
        self._is_seen[list(self._streams.unlabelled_of(prepared.step))] = True
        device, count, more = self.setup.device, len(labelled), len(scenes)
        weight = self.config.unlabelled_weight * self._warmth(prepared.step)
        features = [scene.features for scene in scenes]
        if self._guards_labelled:
            features = [*(self._guarded(scan, prepared.step) for scan in labelled), *features]
        return StepInput(
            frame_ids=(*(scan.frame_id for scan in labelled), *(scene.scene_id for scene in scenes)),
            scans=tuple(torch.from_numpy(scan.points).to(device) for scan in labelled if not self._guards_labelled),
            stored=BatchInput.of(features),
            truths=(*(scan.truth for scan in labelled), *(scene.truth for scene in scenes)),
            terms=(TermSelection(),) * count + (self.config.selection,) * more,
            weights=(1 / count,) * count + (weight / more,) * more,
            seed=(self.setup.run.seed, prepared.step),
            places=self.places(count, more),
        )

    @property
    def _guards_labelled(self) -> bool:
        return self.config.guard_labelled and self._guard.is_changing

    def _guarded(self, scan: LabelledScan, step: int) -> SceneFeatures:
        """The features of a labelled scan as a vehicle with the guard would have sent them."""
        teacher = self._teacher.detector  # whose vehicle part is the student's, and always in evaluation mode
        features = extract_points(scan.points, teacher)
        return self._guard.apply(features, teacher, self.setup.run.seed, step, scan.frame_id)

    @torch.no_grad()
    def _with_pseudo_labels(self, stored: Sequence[Stored], step: int) -> list[FeatureScan]:
        """The stored scenes with the teacher's boxes, then augmented; scenes without any box are kept."""
        device, teacher = self.setup.device, self._teacher.detector
        features = [scene.to(device) for _, scene, _ in stored]
        batch = teacher.batch_of(features)
        found = [choose_scored(candidates, self.config.pseudo_labels) for candidates in teacher.candidates(batch)]
        scenes = [
            self._augment_features.apply(
                FeatureScan(scene_id=self._store.scenes[number].scene_id, features=scene, truth=truth), rng
            )
            for (number, _, rng), scene, (truth, _) in zip(stored, features, found, strict=True)
        ]
        is_compared = self.config.agreement_every and step % self.config.agreement_every == 0
        students = self._students_boxes(batch) if is_compared else [None] * len(scenes)
        for (number, _, _), (truth, scores), scene, student in zip(stored, found, scenes, students, strict=True):
            self._count(number, truth, scores, scene.truth, student)
        return scenes

    def _students_boxes(self, batch: BatchInput) -> list[Truth | None]:
        detector = self.setup.detector
        detector.eval()  # the loop puts it into training mode again before the step
        return [choose(candidates, self.config.pseudo_labels) for candidates in detector.candidates(batch)]

    def _count(
        self, number: int, pseudo: Truth, scores: NDArray[np.float32], augmented: Truth, student: Truth | None
    ) -> None:
        """Numbers on a scene's pseudo labels; true labels, where someone gave them, are only compared with."""
        manifest = self._store.scenes[number].manifest
        known = self.known_labels.get(manifest.frame_id)
        quality = LabelQuality() if known is None else label_quality(pseudo, known)
        boxes = int((~pseudo.is_ignored).sum())
        shared = 0
        if student is not None:
            shared = label_quality(pseudo, student.chosen(~student.is_ignored)).found
        counts = PseudoCounts(
            without=int(len(pseudo) == 0),
            boxes=boxes,
            ignored=len(pseudo) - boxes,
            pasted=int(augmented.is_exact.sum()),
            score=float(scores[~pseudo.is_ignored].sum()),
            found=quality.found,
            wrong=quality.wrong,
            missed=quality.missed,
            compared=boxes if student is not None else 0,
            shared=shared,
        )
        self._telemetry.add(counts, manifest.vehicle_id)

    def _warmth(self, step: int) -> float:
        return min(1.0, (step + 1) / self.config.warm_up_steps) if self.config.warm_up_steps else 1.0

    def training_mode(self) -> None:
        train_server_part(self.setup.detector)

    def after_step(self, step: int) -> Mapping[str, float]:
        self._teacher.follow(self.setup.detector, step)
        return {**self._telemetry.numbers(step), "teacher/gap": self._teacher.gap(self.setup.detector)}

    def scenes_seen(self) -> SeenScenes:
        return super().scenes_seen().joined(self._seen_earlier).joined(self._seen_now())

    def _seen_now(self) -> SeenScenes:
        return SeenScenes.of(self._store.scenes[number] for number in self._is_seen.nonzero().squeeze(1).tolist())

    def state(self) -> dict[str, Any]:
        if self.setup.run.follow.is_on:  # scenes come and go: what was seen is kept by name
            seen = self._seen_earlier.joined(self._seen_now()).by_vehicle
            names = [scene.scene_id for scene in self._store.scenes]
            plain = {tag: sorted(own) for tag, own in seen.items()}
            return {"teacher": self._teacher.state(), "scene_ids": names, "seen": plain}
        ids = b"".join(bytes.fromhex(scene.scene_id) for scene in self._store.scenes)
        scenes = torch.frombuffer(bytearray(ids), dtype=torch.uint8).view(-1, 32)
        return {"teacher": self._teacher.state(), "scenes": scenes, "is_seen": self._is_seen.clone()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`, with the scenes that the run began with: those that came since are another run's.

        A run that follows its store goes on with those of its round that are still there.
        """
        self._teacher.load_state(state["teacher"])
        if self.setup.run.follow.is_on:
            self._seen_earlier = SeenScenes(by_vehicle={tag: frozenset(ids) for tag, ids in state["seen"].items()})
            self._learn_from(self.stored_now().still(state["scene_ids"]))
            return
        self._learn_from(self._store.only([bytes(row.tolist()).hex() for row in state["scenes"]]))
        self._is_seen = state["is_seen"].clone()


def _store_config(setup: RecipeSetup, config: StoreConfig) -> StoreConfig:
    """Only the scenes of `data.unlabelled`, where the run file names one and no vehicle."""
    unlabelled = setup.run.data.unlabelled
    if config.vehicle_id or unlabelled is None:
        return config
    return replace(config, vehicle_id=fleet_id(unlabelled, config.described_guard))
