"""Files of spooled messages: a folder beside the journal keeps them until the store, or the shared folder, has them again.

Where couriers look for files, what no stored message refers to goes after a while; a spooled message is not stored yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from kurir.core.errors import InvalidMessage, StoreAway
from kurir.core.message import FileRef
from kurir.telegram.spool import Spool

NO_BOUND = 2**62  # bytes; what is here has been let in


class Shelter:
    """`kept`: the folder beside the journal; `spool`: where couriers look. Errors: `StoreError` and its children."""

    def __init__(self, kept: Spool, spool: Spool | None) -> None:
        self._kept = kept
        self._spool = spool

    async def take_in(self, files: Iterable[FileRef]) -> None:
        """Durable here when it returns. One that is nowhere to be found is left to the courier, which will say so."""
        for sha256 in _names(files):
            if self._spool is None or await self._kept.exists(sha256):
                continue
            await self._spool.fetch([sha256])
            if await asyncio.to_thread(self._spool.path(sha256).is_file):
                await self._kept.add(self._spool.path(sha256), name=sha256, max_bytes=NO_BOUND)

    async def bring_back(self, files: Iterable[FileRef]) -> None:
        """Those that are here to where couriers look. Raises StoreError while that takes nothing, or they cannot be read."""
        for sha256 in _names(files):
            if self._spool is None or not await self._kept.exists(sha256):
                continue
            try:
                await self._spool.add(self._kept.path(sha256), name=sha256, max_bytes=NO_BOUND)
            except InvalidMessage as error:  # of the disk, not of the message
                raise StoreAway(error.what, f"Let this process read {self._kept.folder}.") from error
            await self._spool.publish([sha256])

    async def sweep(self, needed: set[str]) -> None:
        """Remove what no spooled message needs, except what came of late: its message may be on the way."""
        await self._kept.remove([sha256 for sha256 in await self._kept.blobs() if sha256 not in needed])
        await self._kept.sweep()


def _names(files: Iterable[FileRef]) -> list[str]:
    return list(dict.fromkeys(file.sha256 for file in files))
