"""Workers as processes, on one store and one simulated Telegram: started, stopped, paused, killed, watched."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kurir import Kurir, Settings
from kurir.settings import make_bot
from kurir.simulator.harness import Telegram

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds for anything at all
OFF = {"on": False}

Pace = dict[str, Any]


def token_of(bot: int) -> str:
    return f"{bot}:a-token-of-one-of-many-bots-00000000"


async def until(true: Callable[[], bool], what: str, within: float = PATIENCE) -> float:
    """Seconds it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within, f"not within {within:g} s: {what}"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


@dataclass(frozen=True, slots=True)
class Said:
    what: str
    at: float  # Unix seconds, true ones
    more: dict[str, Any]


class Worker:
    """One process. `bots`: those it sends for at the moment, as it says itself."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self.said: list[Said] = []
        self.bots: set[int] = set()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.workers.program", *self._arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        self._reading = asyncio.create_task(self._read())
        await until(lambda: bool(self.heard("ready")) or self._reading_ended, "a worker starts")
        assert self.heard("ready"), "it ended at once"

    @property
    def _reading_ended(self) -> bool:
        return self._reading is None or self._reading.done()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            said = Said(told.pop("what"), told.pop("at"), told)
            self.said.append(said)
            if said.what == "leased":
                self.bots.add(said.more["bot"])
            elif said.what == "unleased":
                self.bots.discard(said.more["bot"])

    def heard(self, what: str) -> list[Said]:
        return [said for said in self.said if said.what == what]

    def tell(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL."""
        self.tell(signal.SIGKILL)
        await self.gone()

    async def terminate(self) -> None:
        """SIGTERM, and wait for its end."""
        self.tell(signal.SIGTERM)
        await self.gone()

    async def gone(self) -> None:
        assert self._process is not None
        async with asyncio.timeout(PATIENCE):
            await self._process.wait()
            if self._reading is not None:
                await self._reading
        self.bots.clear()

    async def end(self) -> None:
        """Whatever state it is in."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self.gone()


class Fleet:
    """All workers of one test. `hand_over` is a Kurir that only submits."""

    def __init__(self, store: str, telegram: Telegram, bots: Sequence[int], pace: Pace) -> None:
        self.store = store
        self.telegram = telegram
        self.bots = tuple(bots)
        self._pace = pace
        self.workers: list[Worker] = []
        telegram.do(lambda world: [world.add_bot(token_of(bot)) for bot in bots])
        known = tuple(make_bot(str(bot), token_of(bot)) for bot in bots)
        settings = Settings(store=store, bots=known, telegram_url=telegram.url, log_level="error")
        self.hand_over = Kurir(settings=settings, courier=False)

    async def add(self, *, skew: float = 0.0, telegram_url: str | None = None) -> Worker:
        """One more worker, ready."""
        tokens = [token_of(bot) for bot in self.bots]
        url = telegram_url or self.telegram.url
        worker = Worker([str(skew), self.store, url, json.dumps(self._pace), *tokens])
        self.workers.append(worker)
        await worker.start()
        return worker

    async def close(self) -> None:
        for worker in self.workers:
            await worker.end()

    # ------------------------------------------------------------ how things stand

    @property
    def loads(self) -> list[int]:
        """How many bots each worker sends for, in the order of their starts."""
        return [len(worker.bots) for worker in self.workers]

    async def spread(self, *loads: int, within: float = PATIENCE) -> float:
        """Wait until the workers have so many bots, in any order, and each bot one worker; seconds it took."""

        def well() -> bool:
            held = [bot for worker in self.workers for bot in worker.bots]
            there = sorted(len(worker.bots) for worker in self.workers if worker.bots)
            return there == sorted(loads) and sorted(held) == sorted(self.bots)

        try:
            return await until(well, f"{loads}", within)
        except AssertionError as error:
            raise AssertionError(f"{error}; they have {self.loads}") from None

    async def drained(self, within: float = PATIENCE) -> None:
        """Nothing waits any more."""
        async with asyncio.timeout(within):
            while any(bot.waiting for bot in (await self.hand_over.stats()).bots):
                await asyncio.sleep(0.1)
