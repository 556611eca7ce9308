"""Boxes that a detector found."""

from __future__ import annotations

import torch

from protos.v1 import common_pb2
from shared_models.errors import InvalidValueError, ProtocolError
from shared_models.records import Detections


def detections_to_message(detections: Detections) -> common_pb2.Detections:
    """The wire form of `detections`; boxes and scores stay bit for bit what they are in float32."""
    return common_pb2.Detections(
        boxes=detections.boxes.detach().float().cpu().flatten().tolist(),
        scores=detections.scores.detach().float().cpu().tolist(),
        labels=detections.labels.cpu().tolist(),
        class_names=detections.class_names,
    )


def detections_from_message(message: common_pb2.Detections) -> Detections:
    """The record of detections that came in.

    Raises:
        ProtocolError: the lists do not fit each other, or a label has no class name.
    """
    count = len(message.scores)
    if len(message.boxes) != 7 * count or len(message.labels) != count:
        raise ProtocolError(
            f"detections: expected 7 numbers and 1 label per score, got {len(message.boxes)} and "
            f"{len(message.labels)} for {count} scores"
        )
    try:
        return Detections(
            boxes=torch.tensor(list(message.boxes), dtype=torch.float32).reshape(count, 7),
            scores=torch.tensor(list(message.scores), dtype=torch.float32),
            labels=torch.tensor(list(message.labels), dtype=torch.int64),
            class_names=tuple(message.class_names),
        )
    except InvalidValueError as error:
        raise ProtocolError(str(error)) from error
