"""May the bot send at all? Outages and their probes, pauses of the whole bot, and a token that Telegram refused."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from kurir.core.events import OutageBegan, OutageEnded, Paused
from kurir.core.judge import StopBot
from kurir.core.pace import Pace
from kurir.delivery import Delivery, Tried
from kurir.ports import Clock, Lease, Store

from .insistence import Insistence
from .tools import Tools

REVIVE_EVERY = 30.0  # seconds between looks at whether a refused token works again
REFUSED = "refused: "  # how `paused_why` begins when Telegram stopped the bot


class Reach:
    """Hears of every attempt. Runs at most one probe, and makes the bot's pauses durable."""

    def __init__(
        self, bot: int, delivery: Delivery, pace: Pace, tools: Tools, insist: Insistence, wake: Callable[[], None]
    ) -> None:
        self.link = delivery.link
        self._bot = bot
        self._delivery = delivery
        self._pace = pace
        self._store: Store = tools.store
        self._clock: Clock = tools.clock
        self._emit = tools.emit
        self._insist = insist
        self._wake = wake  # the claims may go on
        self._paused_why: str | None = None  # as the store said last
        self._looking = True  # False: no probe is begun any more
        self._lookers: dict[str, asyncio.Task[None]] = {}
        self._notes: set[asyncio.Task[None]] = set()  # pauses on their way to the store

    @property
    def out(self) -> bool:
        """Telegram is out of reach: nothing is sent."""
        return self.link.outage_since is not None

    # ---------------------------------------------------------------- what is heard

    def leased(self, before: Lease | None, lease: Lease) -> None:
        """The lease was taken (`before` None) or renewed: the bot may have been paused or resumed by hand."""
        now, held_until = self._clock.now(), self._pace.paused_until
        was = before.paused_until if before is not None else 0.0
        if was > now and lease.paused_until != was and self._pace.paused_until == was:
            self._pace.pause(0)  # lifted or shortened by hand; a pause of our own since then stays
        if lease.paused_until > now:
            self._pace.pause(lease.paused_until)
        self._paused_why = lease.paused_why
        if self._pace.paused_until != held_until:  # not by what we heard ourselves
            self._emit(Paused(self._bot, None, self._pace.paused_until, lease.paused_why or "resumed by hand"))
        if before is None and math.isinf(lease.paused_until) and (lease.paused_why or "").startswith(REFUSED):
            self._look("revive", self._revive)

    def consider(self, tried: Tried) -> None:
        """What an attempt says about the bot and the way to Telegram."""
        if isinstance(tried.verdict, StopBot):
            self.pause(math.inf, REFUSED + tried.verdict.reason)
            self._look("revive", self._revive)
        if self.out:
            if not tried.infrastructure:
                self._back()
            elif not self._looks("probe"):
                self._emit(OutageBegan(self._bot, self.link.why))
                self._look("probe", self._probe)
        elif self.link.suspicious:
            self._look("probe", self._suspect)

    def pause(self, until: float, why: str) -> None:
        """The whole bot sends nothing before `until` (Unix seconds). Survives a restart; shortens no longer pause."""
        self._pace.pause(until)
        self._emit(Paused(self._bot, None, until, why))
        step = self._insist("steer", lambda: self._store.steer(self._bot, until=until, reason=why, extend=True))
        note = asyncio.ensure_future(step)
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    # ---------------------------------------------------------------- the end

    def stop(self) -> None:
        """Begin no probe any more."""
        self._looking = False

    async def noted(self, timeout: float) -> None:
        """Every pause is durable, or `timeout` seconds have passed."""
        if self._notes:
            await asyncio.wait(self._notes, timeout=timeout)

    def close(self) -> None:
        """Drop everything."""
        self._looking = False
        for task in (*self._lookers.values(), *self._notes):
            task.cancel()

    # ---------------------------------------------------------------- looking

    def _look(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Go and look, unless that is done already."""
        if self._looking and not self._looks(name):
            self._lookers[name] = asyncio.ensure_future(work())

    def _looks(self, name: str) -> bool:
        looker = self._lookers.get(name)
        return looker is not None and not looker.done()

    async def _probe(self) -> None:
        """One probe at a time until Telegram answers."""
        while self.out:
            await self._clock.sleep(self.link.next_probe())
            if self.out and await self._delivery.probe():
                self._back()

    async def _suspect(self) -> None:
        """Breaks in a row in few chats: does anything get through?"""
        await self._delivery.probe()
        if self.out:
            self._emit(OutageBegan(self._bot, self.link.why))
            await self._probe()

    def _back(self) -> None:
        if self.out:
            self._emit(OutageEnded(self._bot, self.link.recovered(self._clock.now())))
            self._wake()

    async def _revive(self) -> None:
        """Telegram refused the bot itself: look now and then whether it takes the token again."""
        while True:
            await self._clock.sleep(REVIVE_EVERY)
            if not (self._paused_why or "").startswith(REFUSED):
                return  # somebody has taken it into their own hands
            if await self._delivery.token_works():
                self._pace.pause(0)
                await self._insist("steer", lambda: self._store.steer(self._bot, until=0.0))
                self._emit(Paused(self._bot, None, 0.0, "Telegram takes the token again"))
                self._wake()
                return
