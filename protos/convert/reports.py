"""What a vehicle tells of its spool."""

from __future__ import annotations

from dataclasses import asdict, fields

from protos.report import VehicleReport
from protos.v1 import ingest_pb2
from shared_models.errors import InvalidValueError, ProtocolError


def report_to_message(report: VehicleReport) -> ingest_pb2.VehicleReport:
    """The wire form of `report`."""
    return ingest_pb2.VehicleReport(**asdict(report))


def report_from_message(message: ingest_pb2.VehicleReport) -> VehicleReport:
    """The record of a report that came in.

    Raises:
        ProtocolError: a number is beyond 2^63 - 1.
    """
    try:
        return VehicleReport(**{each.name: getattr(message, each.name) for each in fields(VehicleReport)})
    except InvalidValueError as error:
        raise ProtocolError(str(error)) from error
