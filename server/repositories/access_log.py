"""The log of access: who uploaded, read and deleted what; only added to, each entry chained to the one before.

    log = catalogue.log
    log.append([Event(at_ns=now_ns, actor=local_actor(), action=Action.READ, subject=scene_id)])

What is added to or removed from a catalogue is logged by the catalogue itself, in the same transaction. docs/records.md
describes the entries and how to check them; `server.records.verification` does.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from shared_models.errors import InvalidValueError

FIRST_PREVIOUS = "0" * 64
MAX_ACTOR, MAX_SUBJECT = 300, 200
_VERSION = "upcycle.access.v1"
_NOT_IN_A_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
Detail = Mapping[str, object]


class Action(StrEnum):
    """What was done.

    UPLOAD: a scene was stored. REMOVED: a scene was deleted; an entry DELETE or RETENTION says before it what for.
    READ: a scene's payload was shown. LIST: manifests, or which scenes are stored. TRAIN: a run opened stored scenes.
    EXPORT: all that is held about a vehicle was copied. MODEL_FETCH: a file of the published model was handed out.
    """

    UPLOAD = "upload"
    READ = "read"
    LIST = "list"
    TRAIN = "train"
    EXPORT = "export"
    MODEL_FETCH = "model-fetch"
    DELETE = "delete"
    RETENTION = "retention"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something to log.

    at_ns: nanoseconds since the epoch.
    actor: ROLE/NAME: vehicle/TAG (`vehicle_tag`, never the plain name), operator/NAME, auditor/NAME, user/NAME for a
        command on this machine, dashboard/NAME, server/NAME; `unknown` without TLS.
    subject: a scene's id, else what was asked for; "" where the detail tells. detail: small, without plain names.
    """

    at_ns: int
    actor: str
    action: Action
    subject: str = ""
    detail: Detail = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, most in (("actor", self.actor, MAX_ACTOR), ("subject", self.subject, MAX_SUBJECT)):
            if len(value) > most or _NOT_IN_A_LINE.search(value):
                raise InvalidValueError(f"Event.{name}: expected one line of at most {most} characters, got {value!r}")
        if not self.actor:
            raise InvalidValueError("Event.actor: expected who did it, got nothing")
        if not 0 <= self.at_ns < 2**63:
            raise InvalidValueError(f"Event.at_ns: expected 0 to 2^63 - 1, got {self.at_ns}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the log, as it is kept. Unchecked: what somebody has changed must be readable, too.

    sequence: 1, 2, 3, ... detail: canonical JSON. previous_sha256, sha256: hex, of the entry before and of this one.
    """

    sequence: int
    at_ns: int
    actor: str
    action: str
    subject: str
    detail: str
    previous_sha256: str
    sha256: str

    @property
    def expected_sha256(self) -> str:
        """The hash that follows from all other fields."""
        fields = (self.sequence, self.at_ns, self.actor, self.action, self.subject, self.detail, self.previous_sha256)
        lines = "\n".join((_VERSION, *map(str, fields)))
        return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def details(self) -> Mapping[str, Any]:
        """`detail` as a mapping; empty where it cannot be read."""
        try:
            read = json.loads(self.detail)
        except ValueError:
            return {}
        return read if isinstance(read, dict) else {}

    @property
    def payload_sha256(self) -> str:
        """The payload that an entry about a scene names; "" where it names none."""
        named = str(self.details.get("payload_sha256", ""))
        return named if re.fullmatch("[0-9a-f]{64}", named) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of the log: number and hash of its last entry."""

    sequence: int = 0
    sha256: str = FIRST_PREVIOUS


def chained(head: Head, events: Sequence[Event]) -> list[Entry]:
    """The entries of `events`, to be appended after `head`."""
    entries = []
    for event in events:
        entry = Entry(
            sequence=head.sequence + 1,
            at_ns=event.at_ns,
            actor=event.actor,
            action=event.action.value,
            subject=event.subject,
            detail=canonical(event.detail),
            previous_sha256=head.sha256,
            sha256="",
        )
        head = Head(sequence=entry.sequence, sha256=entry.expected_sha256)
        entries.append(replace(entry, sha256=head.sha256))
    return entries


def canonical(detail: Detail) -> str:
    """JSON in ASCII on one line, keys sorted, no blanks outside of strings."""
    return json.dumps(detail, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def local_actor(role: str = "user") -> str:
    """Who runs this process, as the operating system names them."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for this user, as in some containers
        name = str(os.getuid())
    return f"{role}/{_NOT_IN_A_LINE.sub('?', name)[:200]}"


class AccessLog(ABC):
    """The log; safe to use from several threads and processes. Calls raise StorageError where the database fails."""

    @abstractmethod
    def append(self, events: Sequence[Event]) -> Head:
        """Add entries durably, all or none, in this order and with nobody else's in between; the new end.

        Raises:
            StorageFullError: no space for them.
        """

    @abstractmethod
    def entries(self, after: int = 0, actions: Collection[Action] | None = None) -> Iterator[Entry]:
        """Entries with a number above `after`, in order; those that are added while reading may be left out.

        actions: only entries of these; None: all.
        """

    @abstractmethod
    def head(self) -> Head:
        """The end of the log, as kept beside it."""
