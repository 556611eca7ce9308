"""Which proposals the second stage learns from, and what it should answer (OpenPCDet's ProposalTargetLayer)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.training.samples import Truth
from shared_models.errors import InvalidValueError
from shared_models.geometry import box_coding
from shared_models.geometry.boxes import rotate_points
from shared_models.geometry.iou import iou_3d
from shared_models.heads.proposals import Proposals
from shared_models.records import check

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiSamplingConfig:
    """How many proposals of which kind; overlaps are IoU in space. The defaults are those of OpenPCDet.

    count: proposals drawn per scene, with repetition where there are too few.
    foreground_share: at most this part of them overlaps an object by `foreground_iou` or more.
    foreground_iou: see above; box targets are given above it.
    easy_iou: background below it is easy, from it on hard.
    hard_share: this part of the background is hard, where there is both.
    is_same_class: only objects of a proposal's own class count.
    score: "soft" is clip((IoU - low) / (high - low), 0, 1); "iou" is the IoU itself (ST3D).
    soft_iou: low and high of the soft score.
    """

    count: int = 128
    foreground_share: float = 0.5
    foreground_iou: float = 0.55
    easy_iou: float = 0.1
    hard_share: float = 0.8
    is_same_class: bool = True
    score: Literal["soft", "iou"] = "soft"
    soft_iou: tuple[float, float] = (0.25, 0.75)

    def __post_init__(self) -> None:
        check.count("RoiSamplingConfig", "count", self.count, 65_536, low=2)  # batch norm needs two
        for name in ("foreground_share", "foreground_iou", "hard_share", "soft_iou"):
            check.number("RoiSamplingConfig", name, getattr(self, name), 0, 1)
        check.number("RoiSamplingConfig", "easy_iou", self.easy_iou, 0, self.foreground_iou)
        if self.score not in ("soft", "iou"):
            raise InvalidValueError(f"RoiSamplingConfig.score: expected 'soft' or 'iou', got {self.score!r}")
        if not self.soft_iou[0] < self.soft_iou[1]:
            raise InvalidValueError(f"RoiSamplingConfig.soft_iou: expected low below high, got {self.soft_iou}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiTargets:
    """S drawn proposals of one scene and what to answer; on the proposals' device.

    boxes: (S, 7). logits: (S,) of the first stage. ious: (S,) with the best object. scores: (S,) wanted, 0 to 1.
    rows: (S,) int64, that object's row in the truth, -1 where no object overlaps by `easy_iou` (easy background).
    foreground: (P,) int64, the drawn ones that learn a box. truth_boxes, codes: (P, 7), their objects, and those as
        codes in the frame of their proposal, facing the same way within 90 degrees.
    """

    boxes: Tensor
    logits: Tensor
    ious: Tensor
    scores: Tensor
    rows: Tensor
    foreground: Tensor
    truth_boxes: Tensor
    codes: Tensor


def sample_rois(
    proposals: Proposals, truth: Truth, config: RoiSamplingConfig, generator: np.random.Generator
) -> RoiTargets:
    """Draws proposals of one scene; a scene without proposals gives none.

    Proposals that overlap a box which the truth ignores by `easy_iou` or more, and more than any object, are not drawn
    unless they are foreground.
    """
    device = proposals.boxes.device
    boxes, labels = proposals.boxes.detach().cpu(), proposals.labels.cpu().numpy()
    ious, matches = best_overlaps(boxes, labels, truth, ~truth.is_ignored, config.is_same_class)
    unsure, _ = best_overlaps(boxes, labels, truth, truth.is_ignored, config.is_same_class)
    allowed = (unsure < config.easy_iou) | (unsure <= ious) | (ious >= config.foreground_iou)
    candidates = np.flatnonzero(allowed)
    drawn = candidates[draw(ious[candidates], config, generator)]
    index = torch.from_numpy(drawn).to(device)
    rows = np.where(ious >= config.easy_iou, matches, -1)[drawn]
    kept_ious = torch.from_numpy(ious[drawn])
    chosen = proposals.boxes.detach()[index]
    foreground = np.flatnonzero((ious[drawn] > config.foreground_iou) & (rows >= 0))
    truth_boxes = torch.from_numpy(truth.boxes[rows[foreground]]).to(device)
    return RoiTargets(
        boxes=chosen,
        logits=proposals.logits.detach()[index],
        ious=kept_ious.to(device),
        scores=wanted_scores(kept_ious, config).to(device),
        rows=torch.from_numpy(rows).to(device),
        foreground=torch.from_numpy(foreground).to(device),
        truth_boxes=truth_boxes,
        codes=encode_in_roi(truth_boxes, chosen[torch.from_numpy(foreground).to(device)]),
    )


def best_overlaps(
    boxes: Tensor, labels: Rows, truth: Truth, counted: NDArray[np.bool_], is_same_class: bool
) -> tuple[NDArray[np.float32], Rows]:
    """(R,) best IoU in space with the `counted` (M,) objects, and the (R,) truth rows; 0 and -1 where nothing overlaps.

    boxes: (R, 7) on the CPU. labels: (R,) classes.
    """
    rows = np.flatnonzero(counted)
    if len(rows) == 0 or len(boxes) == 0:
        return np.zeros(len(boxes), np.float32), np.full(len(boxes), -1, np.int64)
    overlap = iou_3d(boxes.float(), torch.from_numpy(truth.boxes[rows])).numpy()
    if is_same_class:
        overlap = np.where(labels[:, None] == truth.labels[rows], overlap, np.float32(0))
    best = overlap.max(1)
    return best, np.where(best > 0, rows[overlap.argmax(1)], -1)


def draw(ious: NDArray[np.float32], config: RoiSamplingConfig, generator: np.random.Generator) -> Rows:
    """Which of the proposals with these best IoUs (R,) are drawn: `count`, foreground first, or none where R = 0."""
    foreground = np.flatnonzero(ious >= config.foreground_iou)
    easy = np.flatnonzero(ious < config.easy_iou)
    hard = np.flatnonzero((ious >= config.easy_iou) & (ious < config.foreground_iou))
    if len(ious) == 0:
        return np.zeros(0, np.int64)
    if len(hard) + len(easy) == 0:
        return generator.choice(foreground, config.count)
    wanted = min(round(config.count * config.foreground_share), len(foreground))
    chosen = generator.permutation(foreground)[:wanted]
    return np.concatenate((chosen, *_draw_background(hard, easy, config.count - wanted, config.hard_share, generator)))


def _draw_background(
    hard: Rows, easy: Rows, count: int, hard_share: float, generator: np.random.Generator
) -> tuple[Rows, Rows]:
    """With repetition, as upstream does."""
    if len(easy) == 0:
        hard_count = count
    elif len(hard) == 0:
        hard_count = 0
    else:
        hard_count = min(int(count * hard_share), len(hard))
    none = np.zeros(0, np.int64)
    return (
        generator.choice(hard, hard_count) if hard_count else none,
        generator.choice(easy, count - hard_count) if count > hard_count else none,
    )


def wanted_scores(ious: Tensor, config: RoiSamplingConfig) -> Tensor:
    """The confidence that proposals with these IoUs should get; any shape."""
    if config.score == "iou":
        return ious
    low, high = config.soft_iou
    return ((ious - low) / (high - low)).clamp(0, 1)


def encode_in_roi(boxes: Tensor, rois: Tensor) -> Tensor:
    """Codes (P, 7) of boxes (P, 7) in the frame of their proposals (P, 7).

    A box that faces the other way is turned by 180 degrees: the angle code lies within 90 degrees of 0, as the second
    stage refines headings but does not choose them.
    """
    offset = rotate_points((boxes[:, None, :3] - rois[:, None, :3]), -rois[:, 6])[:, 0]
    turn = torch.remainder(boxes[:, 6:] - rois[:, 6:] + math.pi / 2, math.pi) - math.pi / 2
    local = torch.cat((offset, boxes[:, 3:6], turn), 1)
    frame = torch.cat((torch.zeros_like(offset), rois[:, 3:6], torch.zeros_like(turn)), 1)
    return box_coding.encode(local, frame)
