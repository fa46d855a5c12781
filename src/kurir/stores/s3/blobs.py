"""Files in a bucket: `ports.FileStore`.

A file is the object `<prefix><sha256>/<when it was used last>`. To mark it as used, the bucket copies it to a new name and
the old one goes; who drops files removes the names it saw, and nothing else. So no drop takes what is marked meanwhile,
though a bucket knows no transactions: either the copy was made in time, or nothing was left to copy and it is put again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kurir.core.errors import StoreAway, StoreError

from .address import parse
from .bucket import CONNECTIONS, Bucket, Entry
from .troubles import Missing, Refused

FRESH: Final = 900.0
"""Seconds since its last mark within which a use is not marked anew: each mark is a copy, which costs. A file is counted as
used for so much longer instead."""
TRIES: Final = 10  # times others may have changed a file while something is done with it
ABANDONED: Final = 6 * 3600.0  # seconds after its beginning an upload that is not finished is debris

_USE: Final = re.compile(r"([0-9a-f]{64})/(\d{10,}\.\d{6})")


@dataclass(frozen=True, slots=True)
class _Use:
    """A file under the name of a time at which it was used."""

    sha256: str
    at: float  # Unix seconds
    entry: Entry


class S3Blobs:
    """The part of a bucket that an URL names. `fresh`: see FRESH. Raises InvalidSetting."""

    def __init__(self, url: str, *, fresh: float = FRESH) -> None:
        address = parse(url)
        self._bucket = Bucket(address)
        self._prefix = address.prefix
        self._fresh = fresh

    def __str__(self) -> str:
        return str(self._bucket.address)

    async def open(self) -> None:
        """Get ready. Nothing is asked of the bucket, and it may be left out."""
        await self._bucket.open()

    async def close(self) -> None:
        await self._bucket.close()

    async def put_blob(self, sha256: str, path: Path, now: float) -> None:
        """See `ports.BlobStore.put_blob`. One that was marked lately is not marked anew."""
        for _ in range(TRIES):
            uses = await self._uses(sha256)
            if not uses:
                await self._bucket.put(self._key(sha256, now), path)
                return
            if now - uses[-1].at <= self._fresh:
                return
            with suppress(Missing):  # others marked or dropped it meanwhile: look again
                await self._bucket.copy(uses[-1].entry.key, self._key(sha256, now))
                await self._forget(uses)
                return
        raise self._restless(sha256)

    async def get_blob(self, sha256: str, path: Path) -> bool:
        """See `ports.BlobStore.get_blob`."""
        for _ in range(TRIES):
            uses = await self._uses(sha256)
            if not uses:
                return False
            with suppress(Missing):  # as above
                await self._bucket.get(uses[-1].entry, path)
                return True
        raise self._restless(sha256)

    async def drop_blobs(self, sha256s: Sequence[str], before: float) -> int:
        """See `ports.BlobStore.drop_blobs`. If none are named, debris goes: uploads that nobody finished."""
        if not sha256s:
            await self._sweep(before - ABANDONED)
        gone = 0
        for start in range(0, len(sha256s), CONNECTIONS):
            some = sha256s[start : start + CONNECTIONS]
            done = await asyncio.gather(*(self._drop(sha256, before) for sha256 in some), return_exceptions=True)
            for each in done:
                if isinstance(each, BaseException):
                    raise each
                gone += each
        return gone

    async def blobs(self, before: float) -> list[str]:
        """See `ports.BlobStore.blobs`."""
        unused: list[tuple[float, str]] = []
        last: _Use | None = None
        async for entry in self._bucket.entries(self._prefix):
            use = self._use(entry)
            if use is None:
                continue
            if last is not None and last.sha256 != use.sha256 and self._is_unused(last, before):
                unused.append((last.at, last.sha256))
            last = use
        if last is not None and self._is_unused(last, before):
            unused.append((last.at, last.sha256))
        return [sha256 for _, sha256 in sorted(unused)]

    # ---------------------------------------------------------------- one file

    def _key(self, sha256: str, at: float) -> str:
        """Keys of one file are in the order of their times."""
        return f"{self._prefix}{sha256}/{at:017.6f}"

    def _use(self, entry: Entry) -> _Use | None:
        """None for an object of somebody else's."""
        match = _USE.fullmatch(entry.key, len(self._prefix))
        return None if match is None else _Use(match[1], float(match[2]), entry)

    async def _uses(self, sha256: str) -> list[_Use]:
        """The last one last."""
        entries = self._bucket.entries(f"{self._prefix}{sha256}/")
        return [use async for entry in entries if (use := self._use(entry)) is not None]

    def _is_unused(self, last: _Use, before: float) -> bool:
        return last.at + self._fresh < before

    def _restless(self, sha256: str) -> StoreError:
        return StoreAway(f"{self}: others change {sha256} all the time", "Ask again.")

    async def _drop(self, sha256: str, before: float) -> bool:
        uses = await self._uses(sha256)
        if not uses or not self._is_unused(uses[-1], before):
            return False
        for use in uses:
            await self._bucket.delete(use.entry.key)
        return True

    async def _forget(self, uses: Sequence[_Use]) -> None:
        """The names of earlier uses; what stays of them goes with the file."""
        with suppress(StoreError):
            for use in uses:
                await self._bucket.delete(use.entry.key)

    async def _sweep(self, before: float) -> None:
        """A bucket that does not tell of uploads keeps them: its own rules have to end them."""
        with suppress(Refused):
            async for upload in self._bucket.uploads(self._prefix):
                if upload.begun_at < before:
                    await self._bucket.abandon(upload.key, upload.id)
