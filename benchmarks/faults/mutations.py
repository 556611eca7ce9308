"""Ways to spoil a serialized protobuf message, as a broken or hostile vehicle might: pure functions of a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_HUGE = (2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**69)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message as it lies on the wire: its bytes with the tag, and where its value starts."""

    raw: bytes
    kind: int
    value_start: int


def mutate(rng: random.Random, message: bytes, others: Sequence[bytes]) -> tuple[str, bytes]:
    """Spoil `message` in one to three ways; which, and what came of it. `others`: messages to splice with."""
    names = [rng.choice(list(MUTATIONS)) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    for name in names:
        message = MUTATIONS[name](rng, message, others)
    return "+".join(names), message


def varint(value: int) -> bytes:
    """`value` (0 or more) as protobuf writes it, also where it has more than 64 bits."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def fields(message: bytes) -> list[Field]:
    """The top-level fields; the rest that makes no sense is one more, of kind -1."""
    found, at = [], 0
    while at < len(message):
        field = _field_at(message, at)
        found.append(field)
        at += len(field.raw)
    return found


def _field_at(message: bytes, start: int) -> Field:
    tag, at = _read_varint(message, start)
    kind = tag & 7
    if kind == 0:
        end = _read_varint(message, at)[1]
    elif kind == 2:
        size, at = _read_varint(message, at)
        end = at + size
    else:
        end = at + {1: 8, 5: 4}.get(kind, len(message))
    if end > len(message):
        return Field(message[start:], -1, 0)
    return Field(message[start:end], kind, at - start)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        value |= (message[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not message[at - 1] & 0x80:
            return value, at
    return value, len(message) + 1


def _flip_bits(rng: random.Random, message: bytes, others: Sequence[bytes]) -> bytes:
    spoiled = bytearray(message)
    for _ in range(rng.choice((1, 1, 2, 8)) if spoiled else 0):
        spoiled[rng.randrange(len(spoiled))] ^= 1 << rng.randrange(8)
    return bytes(spoiled)


def _flip_early(rng: random.Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """Where tags and lengths are."""
    return _flip_bits(rng, message[:16], others) + message[16:]


def _truncate(rng: random.Random, message: bytes, others: Sequence[bytes]) -> bytes:
    return message[: rng.randrange(len(message) + 1)]


def _insert(rng: random.Random, message: bytes, others: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(message) + 1)
    return message[:at] + rng.randbytes(rng.choice((1, 2, 8, 100))) + message[at:]


def _splice(rng: random.Random, message: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return message[: rng.randrange(len(message) + 1)] + other[rng.randrange(len(other) + 1) :]


def _reorder(rng: random.Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """Fields of the message inside, which is what the parser has to put up with."""
    return _inside(rng, message, lambda parts: rng.sample(parts, len(parts)))


def _repeat(rng: random.Random, message: bytes, others: Sequence[bytes]) -> bytes:
    return _inside(rng, message, lambda parts: parts + rng.choices(parts, k=rng.choice((1, 3, 100))))


def _drop(rng: random.Random, message: bytes, others: Sequence[bytes]) -> bytes:
    return _inside(rng, message, lambda parts: rng.sample(parts, len(parts) - 1))


def _huge_varint(rng: random.Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """A number far too large in the place of a number, or as a field more."""
    added = varint(rng.randrange(1, 16) << 3) + varint(rng.choice(_HUGE))
    return _inside(rng, message, lambda parts: [*parts, added])


def _lie_about_length(rng: random.Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """A field whose length is not what it says."""

    def lie(parts: list[bytes]) -> list[bytes]:
        at = rng.randrange(len(parts))
        field = _field_at(parts[at], 0)
        if field.kind == 2:
            size = len(field.raw) - field.value_start
            told = max(0, rng.choice((size - 1, size + 1, size * 2, 2**31 - 1, 2**32 - 1, 2**64 - 1)))
            parts[at] = parts[at][:1] + varint(told) + field.raw[field.value_start :]
        return parts

    return _inside(rng, message, lie)


def _nest(rng: random.Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """Wrapped in itself, up to far deeper than parsers allow."""
    number = rng.randrange(1, 8)
    for _ in range(rng.choice((1, 5, 120))):
        message = varint(number << 3 | 2) + varint(len(message)) + message
    return message


def _noise(rng: random.Random, message: bytes, others: Sequence[bytes]) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 4, 32, 300, 3000)))


def _inside(rng: random.Random, message: bytes, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """Change the fields of the message, or of one of those in it, down to a drawn depth; lengths are put right."""
    parts = fields(message)
    if not parts:
        return message
    at = max(range(len(parts)), key=lambda index: len(parts[index].raw))
    if parts[at].kind == 2 and rng.random() < 0.7:
        inner = _inside(rng, parts[at].raw[parts[at].value_start :], change)
        tag = varint(_read_varint(parts[at].raw, 0)[0])
        return b"".join(
            [*(p.raw for p in parts[:at]), tag, varint(len(inner)), inner, *(p.raw for p in parts[at + 1 :])]
        )
    return b"".join(change([part.raw for part in parts]))


MUTATIONS: dict[str, Callable[[random.Random, bytes, Sequence[bytes]], bytes]] = {
    "flip": _flip_bits,
    "flip early": _flip_early,
    "truncate": _truncate,
    "insert": _insert,
    "splice": _splice,
    "reorder": _reorder,
    "repeat": _repeat,
    "drop": _drop,
    "huge number": _huge_varint,
    "length": _lie_about_length,
    "nest": _nest,
    "noise": _noise,
}
"""Name of each way and how it spoils; none raises, whatever it is given."""
