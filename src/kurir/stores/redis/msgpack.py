"""MessagePack as Redis' `cmsgpack` speaks it: values one after the other, and text is bytes to who reads."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]


def pack(*values: Any) -> bytes:
    """The values (at most 65,535), packed one after the other. `bytes` and `str` come to the same."""
    packed: bytes = msgpack.packb(values, use_bin_type=False)
    return packed[1 if len(values) < 16 else 3 :]  # without the array's head


def unpack(data: bytes) -> list[Any]:
    """All values in `data`."""
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=0)
    unpacker.feed(data)
    return list(unpacker)


def unpack_exactly(n: int, data: bytes) -> list[Any]:
    """The values in `data`, which are `n`: quicker."""
    values: list[Any] = msgpack.unpackb(b"\xdc" + n.to_bytes(2, "big") + data, raw=True, strict_map_key=False)
    return values
