"""The last report of each vehicle about its own spool, and their sums."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import fields

from protos.report import VehicleReport

logger = logging.getLogger(__name__)

_NAMES = tuple(each.name for each in fields(VehicleReport))


class VehicleReports:
    """Reports in memory; those that came longest ago are forgotten first."""

    def __init__(self, limit: int, tag: Callable[[str], str]) -> None:
        """limit: vehicles at most. tag: what the log calls a vehicle."""
        self._limit, self._tag = limit, tag
        self._last: OrderedDict[str, VehicleReport] = OrderedDict()
        self.sums: dict[str, int] = dict.fromkeys(_NAMES, 0)

    def __len__(self) -> int:
        return len(self._last)

    def last(self, vehicle_id: str) -> VehicleReport | None:
        """What this vehicle reported last; None where it never did, or long ago."""
        return self._last.get(vehicle_id)

    def note(self, vehicle_id: str, report: VehicleReport) -> None:
        """A report has come in; a log line tells where the vehicle has lost more scenes than before."""
        former = self._last.pop(vehicle_id, VehicleReport())
        self._last[vehicle_id] = report
        self._count(report, former)
        if len(self._last) > self._limit:
            _, forgotten = self._last.popitem(last=False)
            self._count(VehicleReport(), forgotten)
        evicted, given_up = report.evicted_scenes, report.given_up_scenes
        if evicted > former.evicted_scenes or given_up > former.given_up_scenes:
            logger.warning(
                "vehicle has lost scenes",
                extra={"vehicle": self._tag(vehicle_id), "evicted": evicted, "given_up": given_up},
            )

    def _count(self, new: VehicleReport, former: VehicleReport) -> None:
        for name in _NAMES:
            self.sums[name] += getattr(new, name) - getattr(former, name)
