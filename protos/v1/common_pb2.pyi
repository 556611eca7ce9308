from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_INTERNAL: _ClassVar[Reason]
    REASON_CALLER: _ClassVar[Reason]
    REASON_INVALID_VALUE: _ClassVar[Reason]
    REASON_UNKNOWN_NAME: _ClassVar[Reason]
    REASON_CONFIG: _ClassVar[Reason]
    REASON_DATASET: _ClassVar[Reason]
    REASON_CHECKPOINT: _ClassVar[Reason]
    REASON_NOT_FOUND: _ClassVar[Reason]
    REASON_TRAINING_DIVERGED: _ClassVar[Reason]
    REASON_OPERATOR: _ClassVar[Reason]
    REASON_MISSING_DEPENDENCY: _ClassVar[Reason]
    REASON_DEVICE: _ClassVar[Reason]
    REASON_STORAGE_FULL: _ClassVar[Reason]
    REASON_STORAGE: _ClassVar[Reason]
    REASON_TRY_LATER: _ClassVar[Reason]
    REASON_SENDER: _ClassVar[Reason]
    REASON_PAYLOAD: _ClassVar[Reason]
    REASON_PAYLOAD_TOO_LARGE: _ClassVar[Reason]
    REASON_PROTOCOL: _ClassVar[Reason]
    REASON_VERSION: _ClassVar[Reason]
    REASON_BACKBONE_MISMATCH: _ClassVar[Reason]
    REASON_CODEC_REFUSED: _ClassVar[Reason]
    REASON_INTEGRITY: _ClassVar[Reason]
    REASON_UNAUTHENTICATED: _ClassVar[Reason]
    REASON_PERMISSION_DENIED: _ClassVar[Reason]
    REASON_GUARD_REFUSED: _ClassVar[Reason]
REASON_UNSPECIFIED: Reason
REASON_INTERNAL: Reason
REASON_CALLER: Reason
REASON_INVALID_VALUE: Reason
REASON_UNKNOWN_NAME: Reason
REASON_CONFIG: Reason
REASON_DATASET: Reason
REASON_CHECKPOINT: Reason
REASON_NOT_FOUND: Reason
REASON_TRAINING_DIVERGED: Reason
REASON_OPERATOR: Reason
REASON_MISSING_DEPENDENCY: Reason
REASON_DEVICE: Reason
REASON_STORAGE_FULL: Reason
REASON_STORAGE: Reason
REASON_TRY_LATER: Reason
REASON_SENDER: Reason
REASON_PAYLOAD: Reason
REASON_PAYLOAD_TOO_LARGE: Reason
REASON_PROTOCOL: Reason
REASON_VERSION: Reason
REASON_BACKBONE_MISMATCH: Reason
REASON_CODEC_REFUSED: Reason
REASON_INTEGRITY: Reason
REASON_UNAUTHENTICATED: Reason
REASON_PERMISSION_DENIED: Reason
REASON_GUARD_REFUSED: Reason

class Limits(_message.Message):
    __slots__ = ("max_payload_bytes", "max_decoded_bytes", "max_chunk_bytes", "max_scenes_in_flight", "max_scene_ids_per_query")
    MAX_PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_DECODED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_SCENES_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    MAX_SCENE_IDS_PER_QUERY_FIELD_NUMBER: _ClassVar[int]
    max_payload_bytes: int
    max_decoded_bytes: int
    max_chunk_bytes: int
    max_scenes_in_flight: int
    max_scene_ids_per_query: int
    def __init__(self, max_payload_bytes: _Optional[int] = ..., max_decoded_bytes: _Optional[int] = ..., max_chunk_bytes: _Optional[int] = ..., max_scenes_in_flight: _Optional[int] = ..., max_scene_ids_per_query: _Optional[int] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("policy_id", "backbone_hashes", "is_any_backbone_accepted", "codecs", "split_layers", "limits", "guard")
    POLICY_ID_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_HASHES_FIELD_NUMBER: _ClassVar[int]
    IS_ANY_BACKBONE_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    CODECS_FIELD_NUMBER: _ClassVar[int]
    SPLIT_LAYERS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    GUARD_FIELD_NUMBER: _ClassVar[int]
    policy_id: bytes
    backbone_hashes: _containers.RepeatedScalarFieldContainer[bytes]
    is_any_backbone_accepted: bool
    codecs: _containers.RepeatedScalarFieldContainer[str]
    split_layers: _containers.RepeatedScalarFieldContainer[str]
    limits: Limits
    guard: str
    def __init__(self, policy_id: _Optional[bytes] = ..., backbone_hashes: _Optional[_Iterable[bytes]] = ..., is_any_backbone_accepted: _Optional[bool] = ..., codecs: _Optional[_Iterable[str]] = ..., split_layers: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., guard: _Optional[str] = ...) -> None: ...

class Detections(_message.Message):
    __slots__ = ("boxes", "scores", "labels", "class_names")
    BOXES_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    boxes: _containers.RepeatedScalarFieldContainer[float]
    scores: _containers.RepeatedScalarFieldContainer[float]
    labels: _containers.RepeatedScalarFieldContainer[int]
    class_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, boxes: _Optional[_Iterable[float]] = ..., scores: _Optional[_Iterable[float]] = ..., labels: _Optional[_Iterable[int]] = ..., class_names: _Optional[_Iterable[str]] = ...) -> None: ...
