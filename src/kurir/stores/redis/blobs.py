"""Files in the store: `ports.BlobStore`. A file is one hash of pieces, written piece by piece.

Who writes a file names the upload; only when it is whole does the index name that upload. What is begun and never finished
is debris after a while, as is what is dropped: it is removed by whoever drops next.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from .keyspace import Keyspace
from .link import Link

PIECE: Final = 512 * 1024  # bytes
ABANDONED: Final = 6 * 3600.0  # seconds after its beginning an upload that is not finished is debris
AT_ONCE: Final = 500  # files in one step of a drop


class Blobs:
    def __init__(self, link: Link, keys: Keyspace) -> None:
        self._link = link
        self._used = keys.of_store("blobs:used")
        self._coming = keys.of_store("blobs:coming")
        self._at = keys.of_store("blobs:at")
        self._prefix = keys.prefix

    def _pieces(self, upload: str) -> str:
        """The key of an upload's pieces: in a cluster, each is on a machine of its own."""
        return f"{self._prefix}:{{blob:{upload}}}"

    async def put(self, sha256: str, path: Path, now: float) -> None:
        """See `ports.BlobStore.put_blob`."""
        while True:
            upload = secrets.token_hex(8)
            if await self._link.run("blob_begin", [self._used, self._coming], [sha256, upload, now]):
                return
            await self._write(upload, path)
            done = await self._link.run("blob_finish", self._index(), [sha256, upload, now])
            if done == 1:
                return
            await self._discard([upload])
            if done == 0:
                return

    def _index(self) -> list[str]:
        return [self._used, self._coming, self._at]

    async def _write(self, upload: str, path: Path) -> None:
        number = 0
        with path.open("rb") as file:
            while piece := await asyncio.to_thread(file.read, PIECE):
                await self._link.command("HSET", self._pieces(upload), number, piece)
                number += 1

    async def get(self, sha256: str, path: Path) -> bool:
        """See `ports.BlobStore.get_blob`."""
        upload = await self._link.command("HGET", self._at, sha256)
        if upload is None:
            return False
        key = self._pieces(upload.decode())
        with path.open("wb") as file:
            for number in range(await self._link.command("HLEN", key)):
                piece = await self._link.command("HGET", key, number)
                if piece is None:  # it was dropped meanwhile
                    return False
                await asyncio.to_thread(file.write, piece)
            return file.tell() > 0

    async def drop(self, sha256s: Sequence[str], before: float) -> int:
        """See `ports.BlobStore.drop_blobs`. Debris goes with them."""
        gone = 0
        for start in range(0, len(sha256s), AT_ONCE):
            gone += await self._link.run("blob_drop", self._index(), [before, *sha256s[start : start + AT_ONCE]])
        debris: list[Any] = await self._link.command(
            "ZRANGE", self._coming, "-inf", f"({before - ABANDONED}", "BYSCORE"
        )
        await self._discard([upload.decode() for upload in debris])
        return gone

    async def _discard(self, uploads: Sequence[str]) -> None:
        for upload in uploads:
            await self._link.command("UNLINK", self._pieces(upload))
            await self._link.command("ZREM", self._coming, upload)

    async def names(self, before: float) -> list[str]:
        """See `ports.BlobStore.blobs`."""
        found: list[Any] = await self._link.command("ZRANGE", self._used, "-inf", f"({before}", "BYSCORE")
        return [sha256.decode() for sha256 in found]
