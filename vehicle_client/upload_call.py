"""One call of `Upload`, followed until it ends: answers read, silence noticed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import grpc

from shared_models.errors import ServerUnreachableError, UpcycleError
from vehicle_client.upload_config import UploaderConfig
from vehicle_client.upload_stream import UploadStream

_TICK_S = 0.2  # how often a running stream is looked at for stop, stall and end


class UploadCall:
    """Reads the answers of one stream in a thread of its own, and cancels it where they do not come."""

    def __init__(
        self,
        target: str,
        stream: UploadStream,
        call: Any,
        config: UploaderConfig,
        clock_s: Callable[[], float],
        is_stopped: Callable[[], bool],
    ) -> None:
        """`call` is gRPC's; `clock_s` never goes back."""
        self._target, self._stream, self._call, self._config = target, stream, call, config
        self._clock_s, self._is_stopped = clock_s, is_stopped
        self._activity, self._since_s = stream.activity, clock_s()
        self._ended: list[grpc.RpcError | UpcycleError | None] = []

    def follow(self) -> grpc.RpcError | UpcycleError | None:
        """Take answers in until the stream ends; what ended it, None where it ended well."""
        reader = threading.Thread(target=lambda: self._ended.append(self._read()), name="upload-answers", daemon=True)
        reader.start()
        silence: ServerUnreachableError | None = None
        while reader.is_alive():
            reader.join(_TICK_S)
            silence = silence or self._silence()
            if silence or self._is_stopped():
                self._call.cancel()
        if self._is_stopped():
            return None
        return silence or self._stream.failure or self._ended[0]

    def _silence(self) -> ServerUnreachableError | None:
        """What the server has owed for too long; None where it owes nothing for that long."""
        stream, now_s, config = self._stream, self._clock_s(), self._config
        if stream.activity != self._activity or not stream.is_busy:
            self._activity, self._since_s = stream.activity, now_s
        late = stream.set_aside(config.answer_s)
        if late:
            return ServerUnreachableError(
                f"{self._target} has not answered for scene {late[0][:12]} for {config.answer_s:.0f} s"
            )
        if now_s - self._since_s > config.stall_s:
            stream.set_aside(0.0)  # one that keeps the server silent does not go first again
            return ServerUnreachableError(f"{self._target} has not answered for {config.stall_s:.0f} s")
        return None

    def _read(self) -> grpc.RpcError | UpcycleError | None:
        try:
            for response in self._call:
                self._stream.receive(response)
        except grpc.RpcError as error:
            return error
        except UpcycleError as error:
            self._call.cancel()
            return error
        finally:
            self._stream.end()
        return None
