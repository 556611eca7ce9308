"""Where answers about scenes meet the truth: places, membership, properties, each beside both ends of its scale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from server.audit import decision_measures as measures
from server.audit.intervals import Estimate, IntervalConfig, estimate_of
from server.audit.report import decided, exact
from server.audit.scenes import SceneTruth
from server.audit.scores import SceneScore

KS: Final = (1, 5)
FPR: Final = 0.01
TPR: Final = "tpr_at_1%_fpr"
CHANCE, RAW = "chance", "raw points"
Descriptors = NDArray[np.float32]


class RetrievalScores:
    """Recall at 1 and at 5 of scenes that another drive has been near; every such scene is a query."""

    def __init__(
        self, truths: Sequence[SceneTruth], visits: measures.Visits, config: IntervalConfig, seed: int
    ) -> None:
        self._truths, self._visits, self._config, self._seed = truths, visits, config, seed
        # Both drives along a street belong together: a street that is easy to tell is so in both.
        self._streets = [truths[row].street for row in visits.queries]

    def numbers(self, found: Descriptors, raw: Descriptors) -> dict[str, Any]:
        """found: (S, D) the attack's descriptors. raw: (S, E) of the raw points."""
        chances = {f"recall@{k}": float(measures.hit_chances_at(self._visits, k).mean()) for k in KS}
        queries = self._visits.queries
        hits = {k: measures.hits_at(found, self._visits, k) for k in KS}
        scenes = [
            SceneScore(
                scene_id=self._truths[row].scene_id,
                numbers={f"recall@{k}": float(hits[k][place]) for k in KS},
            )
            for place, row in enumerate(queries)
        ]
        return decided(
            self._recalls(found),
            {CHANCE: {name: exact(value, len(queries)) for name, value in chances.items()}},
            {RAW: self._recalls(raw)},
            scenes,
            _few_drives(len(set(self._streets)), self._config, "streets"),
        )

    def _recalls(self, descriptors: Descriptors) -> dict[str, Estimate]:
        found = {}
        for k in KS:
            hits = measures.hits_at(descriptors, self._visits, k)
            found[f"recall@{k}"] = estimate_of(partial(_mean, hits), self._streets, self._config, self._seed)
        return found


class MembershipScores:
    """AUC and TPR at 1 % FPR of the scores of members and of others."""

    def __init__(
        self, members: Sequence[SceneTruth], others: Sequence[SceneTruth], config: IntervalConfig, seed: int
    ) -> None:
        self._truths = (*members, *others)
        self._sides = ["member"] * len(members) + ["other"] * len(others)
        self._config, self._seed = config, seed

    def numbers(self, found: NDArray[np.float64], raw: NDArray[np.float64]) -> dict[str, Any]:
        """found: (S,) the attack's scores, of members first. raw: (S,) of what no guard and codec has touched."""
        chance = {"auc": 0.5, TPR: FPR}
        return decided(
            self._of(found),
            {CHANCE: {name: exact(value, len(self._truths)) for name, value in chance.items()}},
            {RAW: self._of(raw)},
            [self._scene(row, float(score)) for row, score in enumerate(found)],
            self._notes(),
        )

    def _scene(self, row: int, score: float) -> SceneScore:
        numbers = {"score": score, "is_member": float(self._sides[row] == "member")}
        return SceneScore(scene_id=self._truths[row].scene_id, numbers=numbers)

    def _of(self, scores: NDArray[np.float64]) -> dict[str, Estimate]:
        is_member = np.array([side == "member" for side in self._sides])
        drives = [truth.drive for truth in self._truths]

        def of(measure: Any) -> Estimate:
            def statistic(rows: NDArray[np.int64]) -> float:
                return float(measure(scores[rows][is_member[rows]], scores[rows][~is_member[rows]]))

            return estimate_of(statistic, drives, self._config, self._seed, self._sides)

        return {"auc": of(measures.auc), TPR: of(lambda members, others: measures.tpr_at_fpr(members, others, FPR))}

    def _notes(self) -> list[str]:
        counts = Counter(self._sides)
        drives = {
            side: len({t.drive for t, own in zip(self._truths, self._sides, strict=True) if own == side})
            for side in counts
        }
        notes = _few_drives(min(drives.values()), self._config, "drives on a side")
        fewest = round(1 / FPR)
        if counts["other"] < fewest:
            notes.append(
                f"too few others ({counts['other']}) for a TPR at 1 % FPR: with fewer than {fewest} it is the share of "
                f"members above the highest of the others; read the AUC"
            )
        return notes


class PropertyScores:
    """Share of scenes whose property is named rightly, of all and of each value."""

    def __init__(self, truths: Sequence[SceneTruth], actual: Sequence[str], config: IntervalConfig, seed: int) -> None:
        self._truths, self._actual, self._config, self._seed = truths, list(actual), config, seed

    def numbers(self, found: Sequence[str], raw: Sequence[str]) -> dict[str, Any]:
        """found: the attack's answers. raw: those of the same classifier on statistics of the raw points."""
        _, chance = measures.accuracy(found, self._actual)
        # The same street may have been driven with each value: those scenes are alike and are drawn together.
        streets = len({truth.street.rpartition("-")[2] for truth in self._truths})
        return decided(
            self._of(found),
            {CHANCE: {"accuracy": exact(chance, len(self._actual))}},
            {RAW: self._of(raw)},
            [
                SceneScore(scene_id=f"{actual}: {truth.scene_id}", numbers={"accuracy": float(answer == actual)})
                for truth, actual, answer in zip(self._truths, self._actual, found, strict=True)
            ],
            _few_drives(streets, self._config, "streets"),
        )

    def _of(self, answers: Sequence[str]) -> dict[str, Estimate]:
        is_right = np.array([a == b for a, b in zip(answers, self._actual, strict=True)], np.float64)
        streets = [truth.street.rpartition("-")[2] for truth in self._truths]
        found = {"accuracy": estimate_of(partial(_mean, is_right), streets, self._config, self._seed)}
        for value in dict.fromkeys(self._actual):
            rows = [row for row, own in enumerate(self._actual) if own == value]
            of_value, within = is_right[rows], [streets[row] for row in rows]
            found[f"recall/{value}"] = estimate_of(partial(_mean, of_value), within, self._config, self._seed)
        return found


def _mean(values: NDArray[np.bool_] | NDArray[np.float64], rows: NDArray[np.int64]) -> float:
    return float(values[rows].mean())


def _few_drives(found: int, config: IntervalConfig, what: str) -> list[str]:
    if found >= config.fewest_scenes:
        return []
    return [f"no interval: the scenes are of {found} {what} only, and those of one are alike"]
