"""When the server is told what became of the scenes that wait in this vehicle."""

from __future__ import annotations

from collections.abc import Callable

from protos import convert
from protos.report import VehicleReport
from protos.v1 import ingest_pb2 as pb

EVERY_S = 10.0  # changes are told no more often


class ReportSender:
    """Tells at the start of a stream, after scenes were dropped or given up, and at its end what has changed since."""

    def __init__(self, read: Callable[[], VehicleReport], clock_s: Callable[[], float]) -> None:
        """`read` looks at the outbox; `clock_s` never goes back."""
        self._read, self._clock_s = read, clock_s
        self._told: VehicleReport | None = None
        self._looked_s = 0.0
        self._is_closed = False

    def due(self) -> pb.UploadRequest | None:
        """The first report, or one of new losses where the last look was long enough ago; else None.

        Raises:
            StorageError: the outbox cannot be read.
        """
        now_s = self._clock_s()
        if self._told is not None and now_s - self._looked_s < EVERY_S:
            return None
        self._looked_s = now_s
        report = self._read()
        if self._told is not None and _losses(report) == _losses(self._told):
            return None
        return self._tell(report)

    def closing(self) -> pb.UploadRequest | None:
        """The last report of a stream, where anything has changed since the one before; None else, and afterwards.

        Raises:
            StorageError: the outbox cannot be read.
        """
        if self._is_closed:
            return None
        self._is_closed = True
        report = self._read()
        return None if report == self._told else self._tell(report)

    def _tell(self, report: VehicleReport) -> pb.UploadRequest:
        self._told = report
        return pb.UploadRequest(report=convert.report_to_message(report))


def _losses(report: VehicleReport) -> tuple[int, int, int]:
    return report.evicted_scenes, report.evicted_bytes, report.given_up_scenes
