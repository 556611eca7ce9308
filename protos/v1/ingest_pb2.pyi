from protos.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Hello(_message.Message):
    __slots__ = ("protocol_versions", "vehicle_id", "backbone_hash", "split_layer", "codecs", "client_version")
    PROTOCOL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    VEHICLE_ID_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_HASH_FIELD_NUMBER: _ClassVar[int]
    SPLIT_LAYER_FIELD_NUMBER: _ClassVar[int]
    CODECS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    protocol_versions: _containers.RepeatedScalarFieldContainer[int]
    vehicle_id: str
    backbone_hash: bytes
    split_layer: str
    codecs: _containers.RepeatedScalarFieldContainer[str]
    client_version: str
    def __init__(self, protocol_versions: _Optional[_Iterable[int]] = ..., vehicle_id: _Optional[str] = ..., backbone_hash: _Optional[bytes] = ..., split_layer: _Optional[str] = ..., codecs: _Optional[_Iterable[str]] = ..., client_version: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol_version", "policy", "credit_bytes", "server_version", "takes_data_in_begin")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    CREDIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    TAKES_DATA_IN_BEGIN_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    policy: _common_pb2.Policy
    credit_bytes: int
    server_version: str
    takes_data_in_begin: bool
    def __init__(self, protocol_version: _Optional[int] = ..., policy: _Optional[_Union[_common_pb2.Policy, _Mapping]] = ..., credit_bytes: _Optional[int] = ..., server_version: _Optional[str] = ..., takes_data_in_begin: _Optional[bool] = ...) -> None: ...

class UploadRequest(_message.Message):
    __slots__ = ("hello", "begin", "chunk", "finish", "report")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    begin: BeginScene
    chunk: Chunk
    finish: FinishScene
    report: VehicleReport
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., begin: _Optional[_Union[BeginScene, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., finish: _Optional[_Union[FinishScene, _Mapping]] = ..., report: _Optional[_Union[VehicleReport, _Mapping]] = ...) -> None: ...

class VehicleReport(_message.Message):
    __slots__ = ("pending_scenes", "pending_bytes", "evicted_scenes", "evicted_bytes", "given_up_scenes", "delivered_scenes")
    PENDING_SCENES_FIELD_NUMBER: _ClassVar[int]
    PENDING_BYTES_FIELD_NUMBER: _ClassVar[int]
    EVICTED_SCENES_FIELD_NUMBER: _ClassVar[int]
    EVICTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    GIVEN_UP_SCENES_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_SCENES_FIELD_NUMBER: _ClassVar[int]
    pending_scenes: int
    pending_bytes: int
    evicted_scenes: int
    evicted_bytes: int
    given_up_scenes: int
    delivered_scenes: int
    def __init__(self, pending_scenes: _Optional[int] = ..., pending_bytes: _Optional[int] = ..., evicted_scenes: _Optional[int] = ..., evicted_bytes: _Optional[int] = ..., given_up_scenes: _Optional[int] = ..., delivered_scenes: _Optional[int] = ...) -> None: ...

class UploadResponse(_message.Message):
    __slots__ = ("welcome", "scene", "credit")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    SCENE_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    scene: SceneAnswer
    credit: Credit
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., scene: _Optional[_Union[SceneAnswer, _Mapping]] = ..., credit: _Optional[_Union[Credit, _Mapping]] = ...) -> None: ...

class SceneManifest(_message.Message):
    __slots__ = ("vehicle_id", "frame_id", "timestamp_ns", "codec", "split_layer", "backbone_hash", "payload_sha256", "payload_bytes", "region")
    VEHICLE_ID_FIELD_NUMBER: _ClassVar[int]
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_NS_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    SPLIT_LAYER_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_HASH_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_SHA256_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    vehicle_id: str
    frame_id: str
    timestamp_ns: int
    codec: str
    split_layer: str
    backbone_hash: bytes
    payload_sha256: bytes
    payload_bytes: int
    region: str
    def __init__(self, vehicle_id: _Optional[str] = ..., frame_id: _Optional[str] = ..., timestamp_ns: _Optional[int] = ..., codec: _Optional[str] = ..., split_layer: _Optional[str] = ..., backbone_hash: _Optional[bytes] = ..., payload_sha256: _Optional[bytes] = ..., payload_bytes: _Optional[int] = ..., region: _Optional[str] = ...) -> None: ...

class BeginScene(_message.Message):
    __slots__ = ("scene_id", "manifest", "data", "crc32")
    SCENE_ID_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CRC32_FIELD_NUMBER: _ClassVar[int]
    scene_id: bytes
    manifest: SceneManifest
    data: bytes
    crc32: int
    def __init__(self, scene_id: _Optional[bytes] = ..., manifest: _Optional[_Union[SceneManifest, _Mapping]] = ..., data: _Optional[bytes] = ..., crc32: _Optional[int] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("scene_id", "offset", "data", "crc32", "is_last")
    SCENE_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CRC32_FIELD_NUMBER: _ClassVar[int]
    IS_LAST_FIELD_NUMBER: _ClassVar[int]
    scene_id: bytes
    offset: int
    data: bytes
    crc32: int
    is_last: bool
    def __init__(self, scene_id: _Optional[bytes] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., crc32: _Optional[int] = ..., is_last: _Optional[bool] = ...) -> None: ...

class FinishScene(_message.Message):
    __slots__ = ("scene_id",)
    SCENE_ID_FIELD_NUMBER: _ClassVar[int]
    scene_id: bytes
    def __init__(self, scene_id: _Optional[bytes] = ...) -> None: ...

class SceneAnswer(_message.Message):
    __slots__ = ("scene_id", "send_from", "stored", "refused")
    SCENE_ID_FIELD_NUMBER: _ClassVar[int]
    SEND_FROM_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    scene_id: bytes
    send_from: SendFrom
    stored: Stored
    refused: Refused
    def __init__(self, scene_id: _Optional[bytes] = ..., send_from: _Optional[_Union[SendFrom, _Mapping]] = ..., stored: _Optional[_Union[Stored, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ...) -> None: ...

class SendFrom(_message.Message):
    __slots__ = ("offset",)
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    offset: int
    def __init__(self, offset: _Optional[int] = ...) -> None: ...

class Stored(_message.Message):
    __slots__ = ("was_already_stored", "stored_at_ns")
    WAS_ALREADY_STORED_FIELD_NUMBER: _ClassVar[int]
    STORED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    was_already_stored: bool
    stored_at_ns: int
    def __init__(self, was_already_stored: _Optional[bool] = ..., stored_at_ns: _Optional[int] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("reason", "message", "may_retry", "retry_after_ms")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MAY_RETRY_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    reason: _common_pb2.Reason
    message: str
    may_retry: bool
    retry_after_ms: int
    def __init__(self, reason: _Optional[_Union[_common_pb2.Reason, str]] = ..., message: _Optional[str] = ..., may_retry: _Optional[bool] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class Credit(_message.Message):
    __slots__ = ("bytes",)
    BYTES_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    def __init__(self, bytes: _Optional[int] = ...) -> None: ...

class SceneStatusRequest(_message.Message):
    __slots__ = ("vehicle_id", "scene_ids")
    VEHICLE_ID_FIELD_NUMBER: _ClassVar[int]
    SCENE_IDS_FIELD_NUMBER: _ClassVar[int]
    vehicle_id: str
    scene_ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, vehicle_id: _Optional[str] = ..., scene_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SceneStatusResponse(_message.Message):
    __slots__ = ("scenes",)
    SCENES_FIELD_NUMBER: _ClassVar[int]
    scenes: _containers.RepeatedCompositeFieldContainer[SceneStatus]
    def __init__(self, scenes: _Optional[_Iterable[_Union[SceneStatus, _Mapping]]] = ...) -> None: ...

class SceneStatus(_message.Message):
    __slots__ = ("scene_id", "state", "committed_offset", "stored_at_ns")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[SceneStatus.State]
        STATE_UNKNOWN: _ClassVar[SceneStatus.State]
        STATE_PARTIAL: _ClassVar[SceneStatus.State]
        STATE_STORED: _ClassVar[SceneStatus.State]
    STATE_UNSPECIFIED: SceneStatus.State
    STATE_UNKNOWN: SceneStatus.State
    STATE_PARTIAL: SceneStatus.State
    STATE_STORED: SceneStatus.State
    SCENE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_OFFSET_FIELD_NUMBER: _ClassVar[int]
    STORED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    scene_id: bytes
    state: SceneStatus.State
    committed_offset: int
    stored_at_ns: int
    def __init__(self, scene_id: _Optional[bytes] = ..., state: _Optional[_Union[SceneStatus.State, str]] = ..., committed_offset: _Optional[int] = ..., stored_at_ns: _Optional[int] = ...) -> None: ...
