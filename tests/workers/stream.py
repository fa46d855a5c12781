"""Messages that come all the time, for every bot of a fleet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kurir import Message
from kurir.simulator.journal import Verb

from .fleet import Fleet

EVERY = 0.25  # seconds
CHATS = 5  # of each bot, in turn


class Stream:
    """A message for each bot at a time. `expected`: marks by chat, in order."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.expected: dict[int, list[str]] = {}
        self.rounds = 0

    async def run(self) -> None:
        while True:
            self.rounds += 1
            messages = []
            for bot in self._fleet.bots:
                chat, mark = bot * 10 + self.rounds % CHATS, f"b{bot}n{self.rounds}"
                self.expected.setdefault(chat, []).append(mark)
                messages.append(Message("sendMessage", {"chat_id": chat, "text": mark}, bot=bot))
            await self._fleet.hand_over.submit(messages)
            await asyncio.sleep(EVERY)

    def first_after(self, rounds: int) -> dict[int, float]:
        """When the first message of each bot arrived that was handed over after so many rounds."""
        found: dict[int, float] = {}
        for entry in self._fleet.telegram.calls():
            if entry.verb is Verb.SENT and int((entry.mark or "n0").partition("n")[2]) > rounds:
                found.setdefault(entry.bot, entry.at)
        return found


@asynccontextmanager
async def streaming(fleet: Fleet) -> AsyncIterator[Stream]:
    """Until the block ends."""
    stream = Stream(fleet)
    running = asyncio.create_task(stream.run())
    try:
        yield stream
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
