"""How a vehicle is named where its plain id must not stand: in the catalogue, in logs, listings and pages.

A server stores `tag:` and the vehicle's tag in the place of its id. The tag is a keyed hash of id and period, so that
nobody without the key can find it from an id, and tags of different periods cannot be told to be one vehicle's.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from server.repositories.repository import SceneCatalogue
from shared_models.errors import ConfigError, InvalidValueError, NotFoundError, StorageError

logger = logging.getLogger(__name__)

KEY_FILE, KEY_VARIABLE = "pseudonym.key", "UPCYCLE_PSEUDONYM_KEY"
KEY_BYTES, TAG_DIGITS = 32, 16
_PREFIX, _STORED = "tag:", re.compile(r"tag:([0-9a-f]{16})")
_AGREEMENT = "pseudonym-key"
_DAY_NS = 86_400 * 10**9
_TAGS_KEPT = 4096


def vehicle_tag(vehicle_id: str) -> str:
    """The tag to show for a vehicle id from the catalogue.

    For ids that came in under no key, eight hexadecimal digits of a plain hash: whoever can guess the id can find them.
    """
    stored = _STORED.fullmatch(vehicle_id)
    if stored is not None:
        return stored[1]
    return hashlib.sha256(f"upcycle.vehicle-tag.v1\n{vehicle_id}".encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudonymConfig:
    """How long a vehicle keeps its tag.

    period_days: length of the periods, counted from 1970-01-01 UTC; another length makes all tags anew.
    """

    period_days: int = 30

    def __post_init__(self) -> None:
        if self.period_days < 1:
            raise InvalidValueError(f"PseudonymConfig.period_days: expected at least 1, got {self.period_days}")


class Pseudonyms:
    """Tags of vehicles under one key (HMAC-SHA-256, RFC 2104, its first 64 bits)."""

    def __init__(self, key: bytes, config: PseudonymConfig | None = None) -> None:
        """Raises:
        ConfigError: the key is shorter than 32 bytes.
        """
        if len(key) < KEY_BYTES:
            raise ConfigError(f"pseudonym key: expected at least {KEY_BYTES} bytes, got {len(key)}")
        self._key, self.config = key, config or PseudonymConfig()
        self._tag = functools.lru_cache(_TAGS_KEPT)(self._make_tag)  # asked for several times with each scene

    @property
    def fingerprint(self) -> str:
        """Tells keys and lengths of period apart without giving the key away, 64 hexadecimal digits."""
        message = f"upcycle.pseudonym-key.v1\n{self.config.period_days}".encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()

    def period(self, at_ns: int) -> int:
        """The number of the period in which `at_ns`, nanoseconds since the epoch, lies."""
        return at_ns // (self.config.period_days * _DAY_NS)

    def starts_ns(self, period: int) -> int:
        """When a period begins, nanoseconds since the epoch."""
        return period * self.config.period_days * _DAY_NS

    def tag(self, vehicle_id: str, at_ns: int) -> str:
        """The vehicle's tag at that time, 16 hexadecimal digits."""
        return self._tag(vehicle_id, self.period(at_ns))

    def _make_tag(self, vehicle_id: str, period: int) -> str:
        message = f"upcycle.pseudonym.v1\n{period}\n{vehicle_id}".encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()[:TAG_DIGITS]

    def stored_name(self, vehicle_id: str, at_ns: int) -> str:
        """What the catalogue holds in the place of the id of a scene that is stored at that time."""
        return _PREFIX + self.tag(vehicle_id, at_ns)

    def is_of(self, stored_name: str, vehicle_id: str, at_ns: int) -> bool:
        """Whether a scene that was stored then under `stored_name` is this vehicle's."""
        return stored_name in (vehicle_id, self.stored_name(vehicle_id, at_ns))

    def find(self, stored_name: str, at_ns: int, vehicle_ids: Iterable[str]) -> str:
        """Whose scene this is, of vehicles that are known.

        Raises:
            NotFoundError: of none of them.
        """
        for vehicle_id in vehicle_ids:
            if self.is_of(stored_name, vehicle_id, at_ns):
                return vehicle_id
        raise NotFoundError(f"{stored_name}: of none of these vehicles, or made under another key")


def open_pseudonyms(data: Path, is_new_allowed: bool = False, config: PseudonymConfig | None = None) -> Pseudonyms:
    """The pseudonyms of a server's data folder.

    The key is in UPCYCLE_PSEUDONYM_KEY (64 hexadecimal digits or more), else in `pseudonym.key` there, mode 0600.

    is_new_allowed: make the file where there is neither.

    Raises:
        ConfigError: the key is malformed, or others than its owner can read the file.
        NotFoundError: there is no key, and `is_new_allowed` is not set.
        StorageError: the file cannot be made.
    """
    given = os.environ.get(KEY_VARIABLE)
    if given:
        return Pseudonyms(_key_in(given, KEY_VARIABLE), config)
    path = data / KEY_FILE
    if is_new_allowed and not path.exists():
        _make_key(path)
    try:
        text, mode = path.read_text(encoding="ascii"), path.stat().st_mode
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no key; a server makes it at its first start, or give {KEY_VARIABLE}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if mode & 0o077:
        raise ConfigError(f"{path}: can be read by others than its owner; chmod 600 it")
    return Pseudonyms(_key_in(text, str(path)), config)


def check_same_key(pseudonyms: Pseudonyms, catalogue: SceneCatalogue) -> None:
    """Refuse a key, or a length of period, that is not the one of the other servers of this catalogue.

    Raises:
        ConfigError: they are not the same. StorageError: the catalogue does not answer.
    """
    if catalogue.agree(_AGREEMENT, pseudonyms.fingerprint) != pseudonyms.fingerprint:
        raise ConfigError(
            "the key of the pseudonyms is not the one that the tags in this catalogue are made with: give every server "
            f"the same {KEY_VARIABLE}, or a copy of the first one's {KEY_FILE}"
        )


def _make_key(path: Path) -> None:
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{secrets.token_hex(KEY_BYTES)}\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # a key that a power cut takes away would make all tags unknown
        finally:
            os.close(folder)
    except OSError as error:
        raise StorageError(f"{path}: cannot be made: {error.strerror}; check space and permissions") from error
    logger.info("key of the pseudonyms made", extra={"file": path.name})


def _key_in(text: str, where: str) -> bytes:
    try:
        key = bytes.fromhex(text.strip())
    except ValueError as error:
        raise ConfigError(f"{where}: expected {2 * KEY_BYTES} or more hexadecimal digits") from error
    if len(key) < KEY_BYTES:
        raise ConfigError(f"{where}: expected {2 * KEY_BYTES} or more hexadecimal digits, got {2 * len(key)}")
    return key
