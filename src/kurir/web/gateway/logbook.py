"""What a door knows of its clients when it is closed or dies: who was not answered, and until when it was there to answer.

A small file beside the file spool. A door is named by its machine and address, at which only one process can listen; the
messages its clients wait for carry that name.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import orjson

from kurir.core.errors import StoreError
from kurir.core.message import Accepted, Record, State
from kurir.ports import Clock, Query, Store

from .repeats import WINDOW, Left, Repeats, Same, same

MOST: Final = 10_000  # messages looked at, the newest first: nobody may ask before
_WAITING: Final = (State.WAITING, State.SENDING)
_ENDED: Final = (State.DELIVERED, State.DEAD, State.EXPIRED)
LOOK_EVERY: Final = 1.0  # seconds between looks for a store that is away
BEAT: Final = 1.0  # seconds between two signs of life


class Logbook:
    """Of the door at `listen` (host:port). `folder` None: nothing is written down; what the store knows is recalled."""

    def __init__(self, listen: str, folder: Path | None, store: Store, clock: Clock, repeats: Repeats) -> None:
        name = f"gateway {socket.gethostname()} {listen}"
        self.mark = {"door": name}  # metadata of a message whose client waits here
        self._path = None if folder is None else folder / f".door-{re.sub('[^0-9A-Za-z.]+', '-', name)}"
        self._store = store
        self._clock = clock
        self._repeats = repeats
        self._beating: asyncio.Task[None] | None = None
        self._recalling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Recall whose clients got no answer, and begin to give signs of life."""
        alive, written = await asyncio.to_thread(self._read)
        for left in written:
            self._repeats.unanswered(left.same, left.what, left.at)
        known = {left.what.id for left in written if isinstance(left.what, Accepted)}
        opened_at = self._clock.now()
        try:
            await self._recall(alive, known, opened_at)
        except StoreError:
            self._recalling = asyncio.create_task(self._recall_when_back(alive, known, opened_at), name="kurir-recall")
        await asyncio.to_thread(self._write, [])  # those of before are known now
        if self._path is not None:
            self._beating = asyncio.create_task(self._beats(), name="kurir-door")

    async def close(self) -> None:
        """Write down who was not answered."""
        for task in (self._beating, self._recalling):
            if task is not None:
                task.cancel()
        await asyncio.to_thread(self._write, self._repeats.left())

    # ---------------------------------------------------------------- what the store knows

    async def _recall_when_back(self, alive: float | None, known: set[str], until: float) -> None:
        """The store was away when the door opened."""
        while self._clock.now() < until + WINDOW:
            await self._clock.sleep(LOOK_EVERY)
            with suppress(StoreError):
                await self._recall(alive, known, until)
                return

    async def _recall(self, alive: float | None, known: set[str], until: float) -> None:
        """Of what was accepted before `until`: what still waits was not answered; nor was what ended when nobody was there
        to tell."""
        since = self._clock.now() - WINDOW
        marked = Query(since=since, until=until, metadata=tuple(self.mark.items()), limit=1000)
        for states in (_WAITING, _ENDED) if alive is not None else (_WAITING,):
            query: Query | None = replace(marked, states=states)
            looked = 0
            while query is not None and looked < MOST:
                page = await self._store.find(query)
                looked += len(page.items)
                for record in page.items:
                    if record.id not in known and _unanswered(record, alive):
                        accepted = Accepted(record.id, record.state, True, record.seq)
                        self._repeats.unanswered(_same(record), accepted, alive or record.accepted_at)
                query = replace(query, cursor=page.next) if page.next is not None else None

    # ---------------------------------------------------------------- the file

    async def _beats(self) -> None:
        path = self._path
        assert path is not None
        while True:
            await asyncio.sleep(BEAT)
            with suppress(OSError):
                os.utime(path)

    def _read(self) -> tuple[float | None, list[Left]]:
        """When the door was last alive (Unix seconds), and who was not answered then."""
        if self._path is None:
            return None, []
        try:
            at = self._path.stat().st_mtime - time.time() + self._clock.now()
            lines = orjson.loads(self._path.read_bytes())
            return at, [_entry(*line) for line in lines]
        except (OSError, ValueError, TypeError, LookupError):
            return None, []

    def _write(self, left: Iterable[Left]) -> None:
        if self._path is None:
            return
        lines = [
            [one.same.digest.hex(), one.same.subject, one.at, accepted.id, accepted.seq]
            for one in left
            if (accepted := one.accepted) is not None
        ]
        fresh = self._path.with_name(f"{self._path.name}.new")
        with suppress(OSError):  # it costs a client at worst a second message, as a crash does
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(orjson.dumps(lines))
            fresh.replace(self._path)


def _entry(digest: str, subject: list[str] | None, at: float, id: str, seq: int) -> Left:
    about = (int(subject[0]), str(subject[1])) if subject else None
    return Left(Same(bytes.fromhex(digest), about), float(at), Accepted(str(id), State.WAITING, True, int(seq)))


def _unanswered(record: Record, alive: float | None) -> bool:
    if not record.state.final:
        return True
    return alive is not None and record.ended_at is not None and record.ended_at > alive - BEAT


def _same(record: Record) -> Same:
    files = [(file.field, file.sha256) for file in record.files]
    return same(record.bot, record.method, orjson.loads(record.params), files)
