"""Mutated messages against a running server: no crash, bounded memory, and only documented statuses.

    python -m benchmarks.fuzz [--messages 1000000] [--seed N] [--streams 8] [--json FILE]

A message counts when it has been handed to gRPC. What is under way when the server ends a stream is never looked at, so
each stream is short. Payloads are SIMULATED.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast

import grpc
import torch
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.faults.conversations import Speaker
from benchmarks.faults.documented import complaint, read_statuses
from benchmarks.faults.mutations import mutate
from benchmarks.faults.payloads import Payloads, simulated_features, write_payloads
from benchmarks.faults.process_use import use_of
from benchmarks.faults.serving import Serving, serving
from protos.v1 import common_pb2, ingest_pb2
from shared_models.errors import UpcycleError

CHUNK_BYTES = 1024
CALL_TIMEOUT_S = 60.0
WARM_SHARE = 0.1  # of the messages, before memory is measured for the first time
GROWTH_BYTES = 64 << 20  # of the server after that, at most
CONFIG = {"partial_count": 200, "partial_check_s": 5.0, "hello_timeout_s": 2.0}
_INGEST, _DELIVERY = "/upcycle.v1.Ingest/", "/upcycle.v1.Delivery/"


@dataclass(slots=True)
class Findings:
    """What the calls came to. `complaints`: what must not be -> the first call's seed that showed it, and how often."""

    messages: int = 0
    calls: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    complaints: dict[str, dict[str, Any]] = field(default_factory=dict)

    def complain(self, what: str, seed: int, message: str = "") -> None:
        """Note something that must not be."""
        self.complaints.setdefault(what, {"seed": seed, "times": 0, "message": message[:300]})["times"] += 1


class Fuzzer:
    """Makes calls one after the other on a channel of its own; each call follows from its seed alone."""

    def __init__(self, target: str, payloads: Payloads, findings: Findings) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", 16 << 20)]
        self._channel = cast(Any, grpc.aio.insecure_channel(target, options=options))
        self._payloads, self._findings, self._statuses = payloads, findings, read_statuses()
        unary = self._channel.unary_unary
        self._unary = {name: unary(_INGEST + name) for name in ("Handshake", "SceneStatus")}
        self._unary["GetPolicy"] = unary(_DELIVERY + "GetPolicy")
        self._get_model = self._channel.unary_stream(_DELIVERY + "GetModel")
        self._upload = self._channel.stream_stream(_INGEST + "Upload")

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def call(self, seed: int) -> None:
        """One call with spoiled messages, and what it came to."""
        rng = random.Random(seed)
        speaker = Speaker(payloads=self._payloads, chunk_bytes=CHUNK_BYTES, vehicle_id=f"car-{rng.randrange(3)}")
        self._findings.calls += 1
        if rng.random() < 0.15:
            await self._ask(rng, speaker, seed)
        else:
            await self._talk(rng, speaker, seed)

    async def _ask(self, rng: random.Random, speaker: Speaker, seed: int) -> None:
        name = rng.choice([*self._unary, "GetModel"])
        make = {"Handshake": speaker.spoiled_hello, "SceneStatus": speaker.query}.get(name, speaker.model)
        sound = make(rng).SerializeToString()
        message = sound if rng.random() < 0.3 else mutate(rng, sound, [sound])[1]
        self._findings.messages += 1
        try:
            if name == "GetModel":
                async for _ in self._get_model(message, timeout=CALL_TIMEOUT_S):
                    pass
            else:
                await self._unary[name](message, timeout=CALL_TIMEOUT_S)
            self._note(grpc.StatusCode.OK, (), seed)
        except grpc.aio.AioRpcError as error:
            self._note(error.code(), _pairs(error), seed, error.details() or "")

    async def _talk(self, rng: random.Random, speaker: Speaker, seed: int) -> None:
        sound = [message.SerializeToString() for message in speaker.upload(rng)]
        spoiled = list(sound)
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            at = rng.randrange(len(spoiled))
            spoiled[at] = mutate(rng, spoiled[at], sound)[1]
        call = self._upload(self._counted(spoiled), timeout=CALL_TIMEOUT_S)
        try:
            async for answer in call:
                self._note_answer(answer, seed)
        except grpc.aio.AioRpcError as error:
            self._note(error.code(), _pairs(error), seed, error.details() or "")
        else:
            self._note(await call.code(), tuple(await call.trailing_metadata() or ()), seed)

    async def _counted(self, messages: list[bytes]) -> AsyncIterator[bytes]:
        for message in messages:
            self._findings.messages += 1
            yield message

    def _note(
        self, code: grpc.StatusCode, metadata: tuple[tuple[str, str | bytes], ...], seed: int, message: str = ""
    ) -> None:
        reason = dict(metadata).get("upcycle-reason", "" if code is grpc.StatusCode.OK else "(of gRPC)")
        self._findings.statuses[f"{code.name} {reason!s}".strip()] += 1
        found = complaint(self._statuses, code, metadata, message)
        if found:
            self._findings.complain(found, seed, message)

    def _note_answer(self, raw: bytes, seed: int) -> None:
        answer = ingest_pb2.UploadResponse.FromString(raw)
        if answer.scene.WhichOneof("answer") == "refused":
            number = answer.scene.refused.reason
            known = number in common_pb2.Reason.values()
            name = common_pb2.Reason.Name(number) if known else str(number)
            self._findings.refusals[name] += 1
            if name not in self._statuses or name == "REASON_INTERNAL":
                self._findings.complain(f"a scene refused with {name}", seed)


class Fuzz:
    """A run against one server process."""

    def __init__(self, server: Serving, payloads: Payloads, messages: int, seed: int, streams: int) -> None:
        self.findings, self.memory_bytes = Findings(), list[int]()
        self._server, self._payloads, self._messages, self._streams = server, payloads, messages, streams
        self._seeds = random.Random(seed)

    async def run(self, on_progress: Any = lambda done: None) -> None:
        """Until so many messages were sent, or the server is gone."""
        await asyncio.gather(self._watch(on_progress), *(self._work() for _ in range(self._streams)))

    def _is_over(self) -> bool:
        return self.findings.messages >= self._messages or self._server.process.poll() is not None

    async def _work(self) -> None:
        fuzzer = Fuzzer(self._server.target, self._payloads, self.findings)
        try:
            while not self._is_over():
                await fuzzer.call(self._seeds.getrandbits(63))
        finally:
            await fuzzer.close()

    async def _watch(self, on_progress: Any) -> None:
        while not self._is_over():
            on_progress(self.findings.messages)
            if self.findings.messages >= WARM_SHARE * self._messages:
                self.memory_bytes.append(use_of(self._server.pid).memory_bytes)
            await asyncio.sleep(0.5)


def _pairs(error: grpc.aio.AioRpcError) -> tuple[tuple[str, str | bytes], ...]:
    return tuple(cast(Any, error.trailing_metadata()) or ())


def run(messages: int, seed: int, streams: int, folder: Path) -> dict[str, Any]:
    """Fuzz a server of its own; the report."""
    torch.set_num_threads(1)
    payloads = write_payloads(folder / "payloads", simulated_features(20, seed, (1, 40)), "int8", "SIMULATED features")
    backbone_hash = payloads.about["backbone_hash"]
    started_s = time.monotonic()
    with serving(folder / "data", backbone_hash, CHUNK_BYTES, CONFIG) as server, Progress(transient=True) as progress:
        task = progress.add_task("messages", total=messages)
        fuzz = Fuzz(server, payloads, messages, seed, streams)
        asyncio.run(fuzz.run(lambda done: progress.update(task, completed=done)))
        exit_status = server.process.poll()
        memory = [*fuzz.memory_bytes, *([use_of(server.pid).memory_bytes] if exit_status is None else [])]
    found = fuzz.findings
    return {
        "seed": seed, "messages": found.messages, "calls": found.calls, "streams": streams,
        "messages_per_call": found.messages / max(found.calls, 1),
        "seconds": time.monotonic() - started_s, "statuses": dict(found.statuses.most_common()),
        "refusals": dict(found.refusals.most_common()), "complaints": found.complaints,
        "server_exit_status": exit_status, "memory_bytes": memory,
        "growth_bytes": max(memory) - memory[0] if memory else 0,
    }  # fmt: skip


def faults(report: dict[str, Any]) -> list[str]:
    """What must not be; none where all is well."""
    found = [
        f"{what}: {how['times']} times, first in call {how['seed']}: {how['message']}"
        for what, how in report["complaints"].items()
    ]
    if report["server_exit_status"] is not None:
        found.append(f"the server ended with status {report['server_exit_status']}")
    if report["growth_bytes"] > GROWTH_BYTES:
        found.append(f"the server's memory grew by {report['growth_bytes'] / 1e6:.0f} MB")
    return found


def main(
    messages: Annotated[int, typer.Option(help="Messages to send.", min=1)] = 1_000_000,
    seed: Annotated[int | None, typer.Option(help="Of everything drawn; a new one without it.")] = None,
    streams: Annotated[int, typer.Option(help="Calls at the same time, each on its own connection.", min=1)] = 8,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file.")] = None,
) -> None:
    """Send mutated messages to a server."""
    console = Console()
    seed = secrets.randbelow(1 << 31) if seed is None else seed
    console.print(f"seed {seed}")
    try:
        with tempfile.TemporaryDirectory() as folder:
            report = run(messages, seed, streams, Path(folder))
    except UpcycleError as error:
        console.print(f"[red]{error}")
        raise typer.Exit(1) from error
    table = Table(title=f"{report['messages']} messages in {report['calls']} calls, {report['seconds']:.0f} s")
    table.add_column("answer")
    table.add_column("times", justify="right")
    for name, count in report["statuses"].items():
        table.add_row(f"call: {name}", str(count))
    for name, count in report["refusals"].items():
        table.add_row(f"scene refused: {name}", str(count))
    table.add_row("memory grew by, MB", f"{report['growth_bytes'] / 1e6:.1f}")
    console.print(table)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    for fault in faults(report):
        console.print(f"[red]{fault}")
    if faults(report):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
