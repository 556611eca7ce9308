"""Which frames of a dataset are labelled, as manifest files that anyone can check and make again.

    {"format": 1, "dataset": "kitti:train", "ratio": 0.02, "seed": 0, "total": 3712,
     "all_sha256": "...", "sha256": "...", "frame_ids": ["training-000000", ...]}

A split is the `int(total x ratio)` frames whose names, put after the seed, have the lowest SHA-256. So it depends on no
library's random numbers and not on the order of the frames, and the split of a smaller ratio lies within that of a
larger one with the same seed.
Frame names are text throughout: published code that subtracted text from numbers left labelled frames among the
unlabelled ones.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from server.training.atomic_files import write_whole
from shared_models.errors import DatasetError, InvalidValueError
from shared_models.records import check

FORMAT: Final = 1
_KEYS: Final = ("format", "dataset", "ratio", "seed", "total", "all_sha256", "sha256", "frame_ids")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialSplit:
    """The labelled frames of one partial-label scenario.

    dataset: what was split, as the command line names it.
    ratio: share of the frames that are labelled, above 0, at most 1.
    seed: of the choice.
    total: frames that there were.
    all_sha256: hash of the names of all frames.
    frame_ids: names of the labelled frames, in the order of the dataset.
    """

    dataset: str
    ratio: float
    seed: int
    total: int
    all_sha256: str
    frame_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_request(self.ratio, self.seed)
        check.sha256_hex("PartialSplit", "all_sha256", self.all_sha256)
        _check_names(self.frame_ids)
        expected = labelled_count(self.total, self.ratio)
        if len(self.frame_ids) != expected:
            raise InvalidValueError(
                f"PartialSplit.frame_ids: expected {expected} frames ({self.ratio:g} of {self.total}), "
                f"got {len(self.frame_ids)}"
            )

    @property
    def sha256(self) -> str:
        """Hash of the labelled frames' names."""
        return names_sha256(self.frame_ids)

    def unlabelled(self, frame_ids: Sequence[str]) -> tuple[str, ...]:
        """All other frames of the dataset, in its order. frame_ids: names of all its frames.

        Raises:
            DatasetError: these are not the frames that were split.
        """
        self.require_from(frame_ids)
        labelled = frozenset(self.frame_ids)
        return tuple(frame_id for frame_id in frame_ids if frame_id not in labelled)

    def require_from(self, frame_ids: Sequence[str]) -> None:
        """These are the frames that were split, in any order.

        Raises:
            DatasetError: they are not.
        """
        if len(frame_ids) != self.total or names_sha256(sorted(frame_ids)) != self.all_sha256:
            raise DatasetError(
                f"the split of {self.dataset} (ratio {self.ratio:g}, seed {self.seed}) was made of {self.total} other "
                f"frames than the {len(frame_ids)} given; open the dataset and settings that the manifest names"
            )


def make_split(frame_ids: Sequence[str], ratio: float, seed: int, dataset: str) -> PartialSplit:
    """The split of the frames with these names.

    Raises:
        InvalidValueError: no frames, a name that is none or comes twice, or a wrong ratio or seed.
    """
    _check_request(ratio, seed)
    _check_names(frame_ids)
    count = labelled_count(len(frame_ids), ratio)
    chosen = frozenset(sorted(frame_ids, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())[:count])
    return PartialSplit(
        dataset=dataset,
        ratio=ratio,
        seed=seed,
        total=len(frame_ids),
        all_sha256=names_sha256(sorted(frame_ids)),
        frame_ids=tuple(name for name in frame_ids if name in chosen),
    )


def labelled_count(total: int, ratio: float) -> int:
    """`int(total x ratio)`, at least 1; 1 % and 2 % of KITTI's 3,712 frames are 37 and 74."""
    return max(1, int(total * ratio + 1e-9))  # 0.29 x 100 is 28.999... in floating point


def names_sha256(names: Iterable[str]) -> str:
    """SHA-256 of the names in this order, each ended by a line break."""
    return hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()


def save_split(split: PartialSplit, path: Path) -> None:
    """Write the manifest.

    Raises:
        StorageError, StorageFullError: it cannot be written.
    """
    manifest = {
        "format": FORMAT,
        "dataset": split.dataset,
        "ratio": split.ratio,
        "seed": split.seed,
        "total": split.total,
        "all_sha256": split.all_sha256,
        "sha256": split.sha256,
        "frame_ids": list(split.frame_ids),
    }
    write_whole(path, (json.dumps(manifest, indent=1) + "\n").encode())


def load_split(path: Path) -> PartialSplit:
    """The split in a manifest.

    Raises:
        DatasetError: the file is missing, malformed, or its frames do not have the declared hash.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: there is no such manifest; make it with\n  {_making(path)}") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DatasetError(f"{path}: not valid JSON: {error}") from error
    _check_manifest(path, manifest)
    try:
        split = PartialSplit(
            dataset=manifest["dataset"],
            ratio=float(manifest["ratio"]),
            seed=manifest["seed"],
            total=manifest["total"],
            all_sha256=manifest["all_sha256"],
            frame_ids=tuple(manifest["frame_ids"]),
        )
    except InvalidValueError as error:
        raise DatasetError(f"{path}: {error}") from error
    if split.sha256 != manifest["sha256"]:
        raise DatasetError(f"{path}: the frames do not have the declared SHA-256; fetch or make the manifest again")
    return split


def _making(path: Path) -> str:
    """The command that makes a manifest with this file name."""
    stem, share, seed = "NAME", "RATIO", "SEED"
    match = re.fullmatch(r"(.+)-([0-9.e-]+)-seed([0-9]+)\.json", path.name)
    if match is not None:
        stem, share, seed = match.groups()
    dataset, root = ("kitti:train", "data/kitti") if stem == "kitti" else ("NAME:SPLIT", "DIR")
    return (
        f"upcycle splits make --dataset {dataset} --root {root} --ratio {share} --seed {seed} --out {path.parent} "
        f"--name {stem}"
    )


def _check_manifest(path: Path, manifest: Any) -> None:
    if not isinstance(manifest, dict) or set(manifest) != set(_KEYS):
        raise DatasetError(f"{path}: expected an object with exactly the keys {', '.join(_KEYS)}")
    if manifest["format"] != FORMAT:
        raise DatasetError(f"{path}: expected format {FORMAT}, got {manifest['format']!r}")
    texts = [manifest[key] for key in ("dataset", "all_sha256", "sha256")]
    numbers = [manifest[key] for key in ("ratio", "seed", "total")]
    names = manifest["frame_ids"]
    is_typed = (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers)
        and all(isinstance(value, int) for value in numbers[1:])
        and isinstance(names, list)
        and all(isinstance(name, str) for name in names)
    )
    if not is_typed:
        raise DatasetError(f"{path}: expected texts, numbers, and frame_ids as a list of texts (not numbers)")


def _check_request(ratio: float, seed: int) -> None:
    check.number("PartialSplit", "ratio", ratio, 1e-6, 1)
    check.count("PartialSplit", "seed", seed, 2**31 - 1, 0)


def _check_names(frame_ids: Sequence[str]) -> None:
    if not frame_ids:
        raise InvalidValueError("partial-label split: expected at least one frame, got none")
    for frame_id in frame_ids:
        if not isinstance(frame_id, str):
            raise InvalidValueError(f"partial-label split: frame names are text, got {frame_id!r}")
        check.name("PartialSplit", "frame_ids", frame_id)
    if len(set(frame_ids)) != len(frame_ids):
        raise InvalidValueError("partial-label split: a frame is named twice")
