"""Patience with who carries bytes over a slow link: it ends when nothing has moved for a while, however long all takes."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Patience:
    """`async with`: TimeoutError after `seconds` in which nobody called `heard`."""

    __slots__ = ("_limit", "_loop", "_over", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(seconds)
        self._over = False

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        await self._limit.__aexit__(kind, error, trace)

    def heard(self) -> None:
        """Something moved. From any thread, and at any time."""
        self._loop.call_soon_threadsafe(self._go_on)

    def _go_on(self) -> None:
        if not self._over and not self._limit.expired():
            self._limit.reschedule(self._loop.time() + self._seconds)
