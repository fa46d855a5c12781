"""Is all well? What a load balancer, an operator and `/health/ready` want to know: is the store writable, does somebody
send, is Telegram within reach."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from kurir.core.errors import StoreError
from kurir.core.events import Crashed, Event, Leased, StoreBack, StoreTrouble, Unleased
from kurir.ports import BotStats, Clock, Stats, Store
from kurir.stores.breaker import Breaker, Circuit
from kurir.stores.journal import Contents, Journal

from .courier import Courier
from .reach import REFUSED

Status = Literal["ok", "degraded", "dead"]

PATIENCE = 2.0  # seconds the store has to answer
LINGER = 3.0  # seconds a trouble is told of at least: while some steps fail and others do not, it comes and goes
FRESH = 1.0  # seconds for which an answer is given again
LATELY = 60.0  # seconds for which a loop that failed is told of


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `remedy`: what to do now; "" where `ok`."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """`dead`: nothing can be accepted, the store is away and no spool takes its place. `degraded`: what is accepted
    waits, or may."""

    status: Status
    checks: tuple[Check, ...]
    at: float  # Unix seconds: when it was looked
    stats: Stats | None = field(default=None, repr=False)  # as read for the checks; None: the store is away
    spool: Contents | None = None  # what this machine keeps for a store that is away; None: no spool

    @property
    def store_up(self) -> bool:
        """Does the store answer and take what is written?"""
        return all(check.ok for check in self.checks if check.name == "store")


class HealthWatch:
    """Hears events, looks at the store and the couriers when asked.

    `bots`: names by id, of those configured. `couriers`: who sends in this process, by bot; none where others do. A look
    costs the store one written row and one reading of its counts a second at most, however often it is asked for.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        bots: Mapping[int, str],
        couriers: Callable[[], Mapping[int, Courier]],
        journal: Journal | None = None,
    ) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock
        self._bots = bots
        self._couriers = couriers
        self._troubles = 0  # of so many loops: begun, and not over
        self._trouble: StoreTrouble | None = None  # the last one
        self._trouble_at = 0.0
        self._crashed: dict[str, float] = {}  # loop -> when
        self._round: asyncio.Task[Stats] | None = None  # on its way through the store
        self._last: Health | None = None
        self._looking: asyncio.Task[Health] | None = None

    def hear(self, event: Event) -> None:
        """A listener."""
        if isinstance(event, StoreTrouble):
            self._troubles += event.step != "submit"  # of a refused submit the next one tells; none may come
            self._trouble, self._trouble_at = event, self._clock.now()
        elif isinstance(event, StoreBack):
            self._troubles = max(0, self._troubles - (event.step != "submit"))
        elif isinstance(event, Leased | Unleased):
            self._troubles = 0  # the trouble of a courier that is gone is over, but nobody says so
        elif isinstance(event, Crashed) and event.loop.startswith("kurir-"):
            self._crashed[event.loop] = self._clock.now()

    async def check(self) -> Health:
        """How things stand, at most `FRESH` seconds old. Never raises; answers within `PATIENCE`."""
        if self._last is not None and 0 <= self._clock.now() - self._last.at < FRESH:
            return self._last
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> Health:
        stats, trouble = await self._ask_the_store()
        contents, spool = await self._look_at_the_spool(trouble)
        checks = (
            _store_check(trouble, self.breaker),
            *spool,
            *_durability_checks(stats),
            *self._courier_checks(stats),
            *self._bot_checks(stats),
        )
        status: Status = "ok" if all(check.ok for check in checks) else "degraded"
        if trouble and contents is None:
            status = "dead"
        self._last = Health(status, checks, self._clock.now(), stats, contents)
        return self._last

    @property
    def breaker(self) -> Breaker | None:
        """The store's circuit breaker, if it has one."""
        return getattr(self._store, "breaker", None)

    async def _look_at_the_spool(self, trouble: str) -> tuple[Contents | None, list[Check]]:
        """What it holds (None: it takes nothing, or there is none), and what is to be said of it."""
        if self._journal is None:
            return None, []
        try:
            if trouble:
                await self._journal.probe(self._clock.now())
            contents = await self._journal.contents()
        except StoreError as error:
            return None, [Check("spool", False, str(error), "Give it room, or KURIR_SPOOL another place.")]
        return contents, [_spool_check(contents, self._clock.now())]

    # ---------------------------------------------------------------- the store

    async def _ask_the_store(self) -> tuple[Stats | None, str]:
        """Its counts, and what is wrong with it. One question at a time, however long the store takes over it."""
        if self._round is None:
            self._round = asyncio.ensure_future(self._go_round())
        await asyncio.wait((self._round,), timeout=PATIENCE)
        if not self._round.done():
            return None, f"it did not answer within {PATIENCE:g} s"
        answered, self._round = self._round, None
        try:
            stats = answered.result()
        except StoreError as error:
            opening = self._trouble if self._troubles and self._trouble and self._trouble.step == "open" else None
            return None, opening.error if opening is not None else str(error)
        except Exception as error:  # whoever asks how we are gets an answer
            return None, f"{type(error).__name__}: {error}"
        if self._trouble is not None and (self._troubles or self._clock.now() - self._trouble_at < LINGER):
            return stats, f"it refused to {self._trouble.step}: {self._trouble.error}"
        return stats, ""

    async def _go_round(self) -> Stats:
        """Through the writer, as every message goes, and back. A lease of no bot writes a row: without room it fails."""
        await self._store.lease("health", (), 0.0, self._clock.now())
        return await self._store.stats()

    # ---------------------------------------------------------------- the couriers

    def _courier_checks(self, stats: Stats | None) -> list[Check]:
        now, here = self._clock.now(), self._couriers()
        known = {bot.bot: bot for bot in stats.bots} if stats else {}
        checks = []
        for bot, name in self._bots.items():
            if stats is not None or bot in here:
                checks.append(_sender(name, bot in here, known.get(bot, BotStats(bot)), now))
        self._crashed = {loop: at for loop, at in self._crashed.items() if now - at < LATELY}
        for loop, at in self._crashed.items():
            detail = f"it failed {now - at:.0f} s ago and was started anew"
            checks.append(Check(f"loop {loop}", False, detail, "The log says why; report it if it goes on."))
        return checks

    def _bot_checks(self, stats: Stats | None) -> list[Check]:
        now, here = self._clock.now(), self._couriers()
        known = {bot.bot: bot for bot in stats.bots} if stats else {}
        checks = []
        for bot, name in self._bots.items():
            told, courier = known.get(bot), here.get(bot)
            if told is not None and told.paused_until > now and (told.paused_why or "").startswith(REFUSED):
                why = (told.paused_why or "").removeprefix(REFUSED)
                checks.append(
                    Check(
                        f"bot {name}",
                        False,
                        f"Telegram refused it: {why}; its messages wait",
                        "Ask @BotFather for the bot's token, set it and restart.",
                    )
                )
            elif courier is not None and courier.reach.out:
                detail = (
                    f"Telegram is out of reach ({courier.reach.link.why}); messages wait, a probe goes out now and then"
                )
                checks.append(
                    Check(f"bot {name}", False, detail, "See `kurir doctor`: network, DNS, proxy, KURIR_TELEGRAM_URL.")
                )
            elif courier is not None:
                checks.append(Check(f"bot {name}", True, "Telegram is within reach"))
        return checks


def _store_check(trouble: str, breaker: Breaker | None) -> Check:
    if trouble:
        standing = breaker.standing if breaker is not None else None
        if standing is not None and standing.circuit is not Circuit.CLOSED:
            trouble = f"{trouble} (away for {standing.seconds:.0f} s)"
        return Check("store", False, trouble, "See `kurir doctor`: is its disk full, its file locked, its server away?")
    return Check("store", True, "it takes what is written")


def _spool_check(contents: Contents, now: float) -> Check:
    waiting = contents.messages - contents.stuck
    if contents.stuck:
        detail = f"{contents.stuck} messages that the store refuses"
        return Check(
            "spool", False, detail, "See `kurir spool`: `--forward` tries them again, `--drop ID` gives one up."
        )
    if waiting:
        age = max(0.0, now - (contents.oldest_at or now))
        detail = f"{waiting} messages wait on this machine for the store, the oldest for {age:.0f} s"
        return Check("spool", False, detail, "They go there by themselves when it is back.")
    return Check("spool", True, "empty; it takes messages while the store is away")


def _durability_checks(stats: Stats | None) -> list[Check]:
    """What the store's server says of itself that puts promises at risk."""
    if stats is None or not (warnings := stats.store.get("warnings")):
        return []
    words = " ".join([*map(str, warnings), str(stats.store.get("durability", ""))]).strip()
    return [Check("durability", False, words, "Change that on the store's server, or accept what it can cost.")]


def _sender(name: str, here: bool, bot: BotStats, now: float) -> Check:
    if here:
        return Check(f"courier {name}", True, "this process sends")
    if bot.holder is not None and (bot.lease_until or 0.0) > now:
        return Check(f"courier {name}", True, "another process sends")
    return Check(
        f"courier {name}",
        False,
        f"nobody sends for it ({bot.waiting} waiting)",
        "Start `kurir worker` (or `kurir serve` without --no-courier) on the same store.",
    )
