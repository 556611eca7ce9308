"""The guard of the labelled split: objects of any other frame are never used.

Published partial-label results had to be retracted because this was not so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from shared_models.errors import InvalidValueError


def refuse_outside(owner: str, frame_ids: Iterable[str], allowed: Collection[str], what: str) -> None:
    """Every frame is one of `allowed`.

    owner: what would hold the objects. what: the allowed frames, in words.

    Raises:
        InvalidValueError: one is not; the message names it.
    """
    outside = next((frame_id for frame_id in frame_ids if frame_id not in allowed), None)
    if outside is not None:
        raise InvalidValueError(
            f"{owner}: frame {outside} is not in {what} ({len(allowed)} frames); its objects must not be "
            f"used, so build the {owner} from the labelled frames only"
        )
