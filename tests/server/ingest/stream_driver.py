"""Drives one upload stream message by message."""

from __future__ import annotations

import queue
from typing import Any

import grpc

from protos import convert
from protos.status import REASON_KEY
from protos.v1 import common_pb2, ingest_pb2
from shared_models.records import EncodedScene
from tests.loopback import LoopbackServer, make_identity

CHUNK = 4096
Request, Answer = ingest_pb2.UploadRequest, ingest_pb2.SceneAnswer


class Stream:
    """One upload stream, driven message by message."""

    def __init__(self, server: LoopbackServer, identity: Any = None, hello: bool = True) -> None:
        self._outgoing: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self.call = server.ingest().Upload(iter(self._outgoing.get, None), timeout=20)
        if hello:
            self.send(hello=convert.hello_to_message(identity or make_identity()))
            self.welcome = next(self.call).welcome

    def send(self, **message: Any) -> None:
        self._outgoing.put(Request(**message))

    def begin(self, scene: EncodedScene) -> Answer:
        self.send(begin=convert.begin_to_message(scene.manifest))
        return self.answer()

    def chunks(self, scene: EncodedScene, offset: int = 0) -> list[ingest_pb2.Chunk]:
        return list(convert.chunks_of(scene, CHUNK, offset))

    def finish(self, scene: EncodedScene) -> Answer:
        self.send(finish=ingest_pb2.FinishScene(scene_id=bytes.fromhex(scene.manifest.scene_id)))
        return self.answer()

    def upload(self, scene: EncodedScene) -> Answer:
        answer = self.begin(scene)
        if answer.WhichOneof("answer") != "send_from":
            return answer
        for chunk in self.chunks(scene, answer.send_from.offset):
            self.send(chunk=chunk)
        return self.finish(scene)

    def answer(self) -> Answer:
        response = next(self.call)
        assert response.WhichOneof("message") == "scene", response
        return response.scene

    def half_close(self) -> None:
        self._outgoing.put(None)

    def end(self) -> grpc.StatusCode:
        self.half_close()
        return self.status()

    def status(self) -> grpc.StatusCode:
        try:
            for _ in self.call:
                pass
        except grpc.RpcError:
            pass
        return self.call.code()

    def reason(self) -> str:
        return dict(self.call.trailing_metadata())[REASON_KEY]


def refusal(answer: Answer) -> tuple[str, bool]:
    assert answer.WhichOneof("answer") == "refused", answer
    return common_pb2.Reason.Name(answer.refused.reason), answer.refused.may_retry
