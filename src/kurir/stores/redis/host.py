"""The server itself: fit or not, what it is, what time it is there. Looked at when the store opens, and now and then."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from kurir.core.errors import InvalidSetting, SchemaMismatch, StoreAway, StoreError, StoreFull

from . import persistence
from .keyspace import Keyspace
from .link import Link, stop
from .persistence import Server

SCHEMA = 1  # of the keys and what is in them
LOOK_EVERY = 30.0  # seconds between two looks at the server's clock and settings
FOLLOW_EVERY = 1.0  # seconds between two questions to sentinels who is master
_SETTINGS = ("appendfsync", "no-appendfsync-on-rewrite", "save")


class Host:
    def __init__(self, link: Link, keys: Keyspace) -> None:
        self._link = link
        self._keys = keys
        self._servers: list[Server] = []
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises InvalidSetting for a server that would lose messages by design, SchemaMismatch for newer keys."""
        await self._look()
        self._refuse_unfit()
        self._link.accept()
        await self._agree_on_schema()
        await self.learn_time()
        self._link.worked = True
        self._task = asyncio.create_task(self._keep_looking(), name="kurir-redis-host")

    async def close(self) -> None:
        task, self._task = self._task, None
        await stop(task)

    async def _agree_on_schema(self) -> None:
        key = self._keys.of_store("schema")
        with contextlib.suppress(StoreFull):  # then it is there already, or the first submit says so
            await self._link.command("SET", key, SCHEMA, "NX")
        present = int(await self._link.command("GET", key) or SCHEMA)
        if present > SCHEMA:
            raise SchemaMismatch(
                f"{self._link.address.shown} has schema {present}; this Kurir knows up to {SCHEMA}",
                "Upgrade Kurir (`pip install -U kurir`); a newer one has used this server.",
            )

    # ---------------------------------------------------------------- looking

    async def learn_time(self) -> None:
        """Ask the server for its time."""
        asked_at = self._link.clock.ticks()
        seconds, micros = (await self._link.everywhere("TIME", looking=True))[0]
        self._link.clock.learn(int(seconds) + int(micros) / 1e6, asked_at, self._link.clock.ticks())

    async def _look(self) -> None:
        infos = await self._link.everywhere("INFO", looking=True)
        configs: list[dict[str, str]] = [{} for _ in infos]
        for name in _SETTINGS:
            try:
                answers = await self._link.everywhere("CONFIG GET", name, looking=True)
            except StoreAway:
                raise
            except StoreError:
                continue  # forbidden here
            for config, answer in zip(configs, answers, strict=False):
                config.update(_texts(answer))
        self._servers = [persistence.server_of(info, config) for info, config in zip(infos, configs, strict=True)]

    def _refuse_unfit(self) -> None:
        persistence.refuse_unfit(self._servers, self._link.address, cluster=self._link.cluster)

    async def _keep_looking(self) -> None:
        accepted = True
        while True:
            if await self._pause(LOOK_EVERY if accepted else FOLLOW_EVERY):
                accepted = False
            with contextlib.suppress(StoreError):
                await self.learn_time()
                await self._look()
                accepted = accepted or self._accept()

    async def _pause(self, seconds: float) -> bool:
        """So long, or until another server is master: then True."""
        if self._link.address.watched is None:
            await asyncio.sleep(seconds)
            return False
        end = time.monotonic() + seconds
        while True:
            await self._link.rest(FOLLOW_EVERY)
            if await self._link.moved():
                return True
            if time.monotonic() >= end:
                return False

    def _accept(self) -> bool:
        """May the server that took over be used? As long as it may not, the store is away."""
        try:
            self._refuse_unfit()
        except InvalidSetting as error:
            self._link.unfit = StoreAway(f"the server that took over cannot be used: {error.what}", error.remedy)
            return False
        self._link.accept()
        return True

    async def figures(self) -> dict[str, Any]:
        """For `Stats.store`. `bytes`: the memory that the servers use, for whatever is in them."""
        memory = await self._link.everywhere("INFO", "memory")
        address = self._link.address
        weakest = min(self._servers, key=_safety)
        warnings = [text for server in self._servers for text in persistence.warnings(server, address)]
        return {
            "engine": weakest.engine,
            "schema": SCHEMA,
            "bytes": sum(int(info["used_memory"]) for info in memory),
            "durability": persistence.durability(weakest, address),
            "warnings": list(dict.fromkeys(warnings)),
        }


def _safety(server: Server) -> tuple[bool, bool]:
    return bool(server.appendonly), server.appendfsync == "always"


def _texts(answer: Any) -> dict[str, str]:
    """What CONFIG GET answers, as texts."""
    pairs = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
    return {_text(name): _text(value) for name, value in pairs}


def _text(word: Any) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)
