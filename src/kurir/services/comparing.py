"""Do two stores hold the same? Counts and checksums over canonical rows, however many, in whatever order they come."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import blake2b
from typing import assert_never

import orjson

from kurir.core.rows import AliasRow, BotRow, FileIdRow, LaneRow, MessageRow, Section, SequenceRow
from kurir.ports import ApiKey, Chunk, Day, Portable, Row

PAGE = 2000  # rows read at once
BUCKETS = 4096  # rows that differ are looked for among those of a few buckets
LOOKED_INTO = 8  # buckets
SHOWN = 10  # rows that differ, named one by one
_MASK = (1 << 128) - 1

Rows = Callable[[], AsyncIterator[Row]]
Tell = Callable[[Section, int], None]  # so many rows more were read


@dataclass(frozen=True, slots=True)
class Comparison:
    """One section of two stores. `differing` names some of the rows that are not alike."""

    section: str
    source: int  # rows
    target: int
    source_sum: str  # hexadecimal
    target_sum: str
    differing: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        return (self.source, self.source_sum) == (self.target, self.target_sum)


class Digest:
    """Count and checksum of rows: the sum of their hashes, so that order does not matter."""

    __slots__ = ("buckets", "count", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.buckets = [0] * BUCKETS

    def add(self, row: Row) -> None:
        number = hash_of(row)
        self.count += 1
        self.total = (self.total + number) & _MASK
        self.buckets[_bucket(row)] ^= number

    def hex(self) -> str:
        return f"{self.total:032x}"


def hash_of(row: Row) -> int:
    """Of its canonical form: JSON, bytes in hexadecimal, metadata by name; `inf` as null, where null means nothing else."""
    body = orjson.dumps(row, default=bytes.hex, option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(blake2b(body, digest_size=16).digest(), "big")


def name_of(row: Row) -> str:
    """What a person knows it by; unique in its section."""
    match row:
        case SequenceRow():
            return "the last order number"
        case BotRow(bot):
            return f"bot {bot}"
        case LaneRow(bot, chat) | AliasRow(bot, chat):
            return f"chat {chat} of bot {bot}"
        case MessageRow():
            return f"message {row.id}"
        case FileIdRow(bot, sha256, kind):
            return f"{kind} {sha256} of bot {bot}"
        case Day(bot, day):
            return f"{day} of bot {bot}"
        case ApiKey():
            return f"key {row.id}"
        case _:
            assert_never(row)


def _bucket(row: Row) -> int:
    return zlib.crc32(name_of(row).encode()) % BUCKETS


async def pages(store: Portable, section: Section, cursor: str | None = None) -> AsyncGenerator[Chunk]:
    """The section's chunks from `cursor` on; the next is read while the caller works on this one."""
    reading = asyncio.ensure_future(store.dump(section, cursor, PAGE))
    try:
        while True:
            chunk = await reading
            if chunk.next is not None:
                reading = asyncio.ensure_future(store.dump(section, chunk.next, PAGE))
            yield chunk
            if chunk.next is None:
                return
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def compare(section: Section, source: Rows, target: Rows, tell: Tell) -> Comparison:
    """Both are read once; where they differ, once more."""
    theirs, ours = await asyncio.gather(_digest(source, section, tell), _digest(target, section, lambda *_: None))
    found = Comparison(section.value, theirs.count, ours.count, theirs.hex(), ours.hex())
    if found.same:
        return found
    wrong = {n for n in range(BUCKETS) if theirs.buckets[n] != ours.buckets[n]}
    looked_into = set(sorted(wrong)[:LOOKED_INTO])
    there, here = await asyncio.gather(_hashes(source, looked_into), _hashes(target, looked_into))
    differing = [_difference(name, there.get(name), here.get(name)) for name in sorted(there.keys() | here.keys())]
    named = tuple(difference for difference in differing if difference)[:SHOWN]
    return Comparison(found.section, found.source, found.target, found.source_sum, found.target_sum, named)


async def _digest(rows: Rows, section: Section, tell: Tell) -> Digest:
    digest = Digest()
    async for row in rows():
        digest.add(row)
        if digest.count % PAGE == 0:
            tell(section, PAGE)
    tell(section, digest.count % PAGE)
    return digest


async def _hashes(rows: Rows, buckets: set[int]) -> dict[str, int]:
    return {name_of(row): hash_of(row) async for row in rows() if _bucket(row) in buckets}


def _difference(name: str, there: int | None, here: int | None) -> str | None:
    if there == here:
        return None
    if here is None:
        return f"{name}: only in the source"
    return f"{name}: only in the target" if there is None else f"{name}: not alike"


def all_of(store: Portable, section: Section) -> Rows:
    """The section's rows."""

    async def rows() -> AsyncIterator[Row]:
        async with aclosing(pages(store, section)) as chunks:
            async for chunk in chunks:
                for row in chunk.rows:
                    yield row

    return rows
