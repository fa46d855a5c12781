"""As much of MessagePack as Redis' `cmsgpack` and we tell each other in. Text is bytes here: who reads decodes."""

from __future__ import annotations

import struct
from typing import Any

_DOUBLE = struct.Struct(">Bd")
_UNPACK = {
    0xCA: struct.Struct(">f"),
    0xCB: struct.Struct(">d"),
    0xCC: struct.Struct(">B"),
    0xCD: struct.Struct(">H"),
    0xCE: struct.Struct(">I"),
    0xCF: struct.Struct(">Q"),
    0xD0: struct.Struct(">b"),
    0xD1: struct.Struct(">h"),
    0xD2: struct.Struct(">i"),
    0xD3: struct.Struct(">q"),
}
_LENGTHS = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC4: 1, 0xC5: 2, 0xC6: 4}  # bytes in which a text's length is told
_SIZES = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}  # the same of arrays (first two) and maps
NIL = b"\xc0"


def text(value: bytes) -> bytes:
    """A text, packed."""
    n = len(value)
    if n < 32:
        return bytes((0xA0 | n,)) + value
    if n < 256:
        return bytes((0xD9, n)) + value
    if n < 65536:
        return b"\xda" + n.to_bytes(2, "big") + value
    return b"\xdb" + n.to_bytes(4, "big") + value


def double(value: float) -> bytes:
    """A number, packed exactly."""
    return _DOUBLE.pack(0xCB, value)


def pack(*values: Any) -> bytes:
    """The values, packed one after the other."""
    return b"".join([_pack(value) for value in values])


def _pack(value: Any) -> bytes:
    match value:
        case None:
            return NIL
        case True:
            return b"\xc3"
        case False:
            return b"\xc2"
        case bytes():
            return text(value)
        case str():
            return text(value.encode())
        case float():
            return double(value)
        case int():
            return bytes((value,)) if 0 <= value < 128 else b"\xd3" + value.to_bytes(8, "big", signed=True)
        case list() | tuple():
            return b"\xdd" + len(value).to_bytes(4, "big") + pack(*value)
    raise TypeError(f"cannot pack a {type(value).__name__}")


def unpack(data: bytes) -> list[Any]:
    """All values in `data`, one after the other."""
    values = []
    at, end = 0, len(data)
    while at < end:
        value, at = _unpack(data, at)
        values.append(value)
    return values


def _unpack(data: bytes, at: int) -> tuple[Any, int]:
    tag = data[at]
    at += 1
    if tag < 0x80:
        return tag, at
    if tag >= 0xE0:
        return tag - 256, at
    if 0xA0 <= tag < 0xC0:
        return data[at : at + tag - 0xA0], at + tag - 0xA0
    if tag == 0xC0:
        return None, at
    if known := _UNPACK.get(tag):
        return known.unpack_from(data, at)[0], at + known.size
    if width := _LENGTHS.get(tag):
        n = int.from_bytes(data[at : at + width], "big")
        at += width
        return data[at : at + n], at + n
    if tag in (0xC2, 0xC3):
        return tag == 0xC3, at
    return _unpack_many(data, at, tag)


def _unpack_many(data: bytes, at: int, tag: int) -> tuple[Any, int]:
    if tag < 0xA0:
        n, mapping = tag & 15, tag < 0x90
    else:
        width = _SIZES[tag]
        n, mapping = int.from_bytes(data[at : at + width], "big"), tag > 0xDD
        at += width
    items = []
    for _ in range(2 * n if mapping else n):
        item, at = _unpack(data, at)
        items.append(item)
    return (dict(zip(items[::2], items[1::2], strict=True)) if mapping else items), at
