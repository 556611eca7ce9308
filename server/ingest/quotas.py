"""How much is stored of each vehicle, against its quotas: counted in the catalogue once, then kept up to date.

The catalogue is what counts, so a restart forgets nothing; under pseudonyms a vehicle's names of the last years are
asked for together.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from server.ingest.limits import LimitsConfig
from server.ingest.refusals import TryLaterError
from server.repositories.pseudonym import Pseudonyms
from server.repositories.repository import SceneCatalogue, SceneFilter

_DAY_NS = 86_400 * 10**9
_YEARS = 5  # of pseudonyms that are looked for
_RECOUNT_WHEN_FULL_S = 30.0  # a vehicle over its quota is counted anew no more often than that
_LONGEST_WAIT_S = 3600.0  # the operator may raise a quota or remove scenes before the day is over


class _Account:
    """What is stored of one vehicle; `lock` is held while it is counted or changed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stored_bytes = self.day_bytes = self.day = 0
        self.counted_ns: int | None = None


class VehicleQuotas:
    """Quotas of stored bytes; its calls may ask the catalogue and belong into a thread."""

    def __init__(
        self,
        config: LimitsConfig,
        catalogue: SceneCatalogue,
        pseudonyms: Pseudonyms | None,
        clock_ns: Callable[[], int],
    ) -> None:
        self._config, self._catalogue, self._pseudonyms, self._clock_ns = config, catalogue, pseudonyms, clock_ns
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._lock = threading.Lock()
        self._is_used = bool(config.vehicle_stored_bytes or config.vehicle_day_bytes)

    def check(self, vehicle_id: str, coming_bytes: int) -> None:
        """Whether so many bytes, open scenes included, may still come.

        Raises:
            TryLaterError: a quota would be exceeded.
            StorageError: the catalogue does not answer.
        """
        if not self._is_used:
            return
        account, now_ns = self._account(vehicle_id), self._clock_ns()
        with account.lock:
            self._bring_up_to_date(account, vehicle_id, now_ns, self._config.recount_s)
            if self._exceeded(account, coming_bytes):
                self._bring_up_to_date(account, vehicle_id, now_ns, _RECOUNT_WHEN_FULL_S)
            exceeded = self._exceeded(account, coming_bytes)
        if exceeded == "stored_bytes":
            raise TryLaterError(
                f"this vehicle's {self._config.vehicle_stored_bytes} bytes of storage are used up: the operator can "
                "raise vehicle_stored_bytes or remove scenes",
                _LONGEST_WAIT_S,
                exceeded,
            )
        if exceeded:
            raise TryLaterError(
                f"this vehicle's {self._config.vehicle_day_bytes} bytes of today (UTC) are used up",
                min(_LONGEST_WAIT_S, (_DAY_NS - now_ns % _DAY_NS) / 1e9),
                exceeded,
            )

    def add(self, vehicle_id: str, size: int) -> None:
        """A scene has been stored. While its vehicle is being counted it may count twice, until the next count."""
        if not self._is_used:
            return
        account = self._account(vehicle_id)
        with account.lock:
            self._turn_day(account, self._clock_ns())
            account.stored_bytes += size
            account.day_bytes += size

    def _account(self, vehicle_id: str) -> _Account:
        with self._lock:
            account = self._accounts.setdefault(vehicle_id, _Account())
            self._accounts.move_to_end(vehicle_id)
            if len(self._accounts) > self._config.vehicles_remembered:
                self._accounts.popitem(last=False)
            return account

    def _exceeded(self, account: _Account, coming_bytes: int) -> str:
        for limit, used, name in (
            (self._config.vehicle_stored_bytes, account.stored_bytes, "stored_bytes"),
            (self._config.vehicle_day_bytes, account.day_bytes, "day_bytes"),
        ):
            if limit and used + coming_bytes > limit:
                return name
        return ""

    def _bring_up_to_date(self, account: _Account, vehicle_id: str, now_ns: int, older_than_s: float) -> None:
        self._turn_day(account, now_ns)
        if account.counted_ns is not None and now_ns - account.counted_ns < older_than_s * 1e9:
            return
        names, day_starts_ns = self._names(vehicle_id, now_ns), now_ns - now_ns % _DAY_NS
        if self._config.vehicle_stored_bytes:
            account.stored_bytes = self._catalogue.counts(SceneFilter(vehicle_ids=names)).payload_bytes
        if self._config.vehicle_day_bytes:
            today = SceneFilter(vehicle_ids=names, stored_from_ns=day_starts_ns)
            account.day_bytes = self._catalogue.counts(today).payload_bytes
        account.counted_ns = now_ns

    def _turn_day(self, account: _Account, now_ns: int) -> None:
        if account.day != now_ns // _DAY_NS:
            account.day, account.day_bytes = now_ns // _DAY_NS, 0

    def _names(self, vehicle_id: str, now_ns: int) -> frozenset[str]:
        """What the catalogue may call the vehicle."""
        pseudonyms = self._pseudonyms
        if pseudonyms is None:
            return frozenset({vehicle_id})
        newest, oldest = pseudonyms.period(now_ns), pseudonyms.period(max(0, now_ns - _YEARS * 366 * _DAY_NS))
        tagged = (pseudonyms.stored_name(vehicle_id, pseudonyms.starts_ns(p)) for p in range(oldest, newest + 1))
        return frozenset({vehicle_id, *tagged})
