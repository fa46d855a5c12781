"""Which bots this process sends for. Every round it says that it is there, sees who else is, renews its leases, gives up
the bots that fall to others and takes those that fall to it (`spreading`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from kurir.core.errors import StoreError
from kurir.core.events import StoreBack, StoreTrouble, Submitted
from kurir.ports import Lease, Roll, Roster, Settlement

from .courier import Courier
from .crew import Crew
from .jumps import Jumps
from .leftovers import Leftovers
from .spreading import Plan, plan
from .tools import Tools

LEASE_SECONDS = 7.0  # a standby takes over so long after a holder was last heard of
ATTEND_SECONDS = LEASE_SECONDS + 0.2  # who is taken for gone holds no lease any more
RENEW_EVERY = 2.0  # seconds between two rounds
STANDBY_EVERY = 1.0  # ... while there is nothing to renew, or who holds a bot is not known
TRY_AGAIN = 0.5  # seconds until the next round when the store failed
LOOK_EVERY = 0.5  # seconds at least between two looks at whether a bot was given up
WAKE_EVERY = 0.01  # seconds between two wake-ups of all couriers at most
MOVE_GRACE = 8.0  # seconds that calls in flight get before their bot goes to another process
RESERVED = 3.0  # seconds; leases that ran out while the store was away for all are not taken over sooner
LAST_WORD = 0.75  # seconds that the store gets, at a stop, to hear that a lease is given up
SETTLING = 3.0  # seconds in which what lies here is to be settled; then leases are renewed, and it goes on
KEEP_EVERY = 1.0  # seconds between two looks, during a stop, at what the store has not taken yet


@dataclass(frozen=True, slots=True)
class _Round:
    """What the store said. `roll` None: nobody was asked who is there."""

    leases: tuple[Lease, ...]
    roll: Roll | None
    part: Plan


class Supervisor:
    """One per process. `holder` names it in leases; it must be unique to this run. `leftovers`: results of processes that
    ended while the store was away; settled before a bot is taken."""

    def __init__(
        self,
        bots: Iterable[int],
        make: Callable[[int], Courier],
        tools: Tools,
        holder: str,
        leftovers: Leftovers | None = None,
    ) -> None:
        self._bots = tuple(bots)
        self._store = tools.store
        self._clock = tools.clock
        self._emit = tools.emit
        self._holder = holder
        self._crew = Crew(make, tools.emit)
        self._leftovers = leftovers
        self._look_here = True  # none were looked for since the store was away
        self._leaving: dict[int, Courier] = {}  # who was at work when the stop began
        self._moving: dict[int, asyncio.Task[None]] = {}  # bots that go to others: what is in flight gets its answer
        self._leasing = asyncio.Lock()  # a lease is not renewed behind the back of who gives it up
        self._to_free: set[int] = set()  # bots whose leases are to be given up; no courier starts for them
        self._freed: set[int] = set()  # ... and those of which that was done since the last round asked
        self._freeing: set[asyncio.Task[None]] = set()
        self._elsewhere: set[int] = set()  # bots of ours that others send for, as of the last round
        self._soon = asyncio.Event()  # the next round is due at once
        self._look_at = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._stopping = False
        self._trouble_since: float | None = None
        self._reserved_until = 0.0  # ticks: until then, who held a bot before takes it up again
        self._jumps = Jumps(tools.clock, _ticks)

    @property
    def couriers(self) -> dict[int, Courier]:
        """The couriers at work, by bot."""
        return self._crew.couriers

    async def run(self) -> None:
        """Until cancelled; `stop` first for a clean end."""
        watch = asyncio.create_task(self._watch(), name="kurir-watch")
        try:
            while True:
                await self._rest(await self._round())
        finally:
            watch.cancel()
            for task in (self._looking, *self._moving.values(), *self._freeing):
                if task is not None:
                    task.cancel()

    # ---------------------------------------------------------------- a round

    async def _round(self) -> float:
        """Answers after how many seconds the next one is due."""
        now = self._clock.now()
        try:
            async with self._leasing:
                self._freed.clear()
                told = await self._ask()
        except StoreError as error:  # the leases we hold run out by themselves
            self._look_here = True
            if self._trouble_since is None:
                self._trouble_since = now
                self._emit(StoreTrouble("lease", str(error)))
            return TRY_AGAIN
        if self._trouble_since is not None:
            self._emit(StoreBack(self._clock.now() - self._trouble_since))
            self._trouble_since = None
            self._reserve(RESERVED)
        held = {lease.bot for lease in told.leases}
        for bot in [bot for bot in self._crew.couriers if bot not in held]:
            await self._crew.drop(bot, "another process holds the bot now")
        for lease in told.leases:
            if not self._crew.renew(lease) and self._may_start(lease.bot):
                await self._start(lease)
        if not self._stopping:
            for bot in told.part.release:
                self._move(bot)
        return self._pause(told.roll)

    def _may_start(self, bot: int) -> bool:
        return not (self._stopping or bot in self._moving or bot in self._to_free or bot in self._freed)

    async def _ask(self) -> _Round:
        """Attend, then renew and take leases. No lease is believed to last longer than from the question on, whatever the
        clocks say."""
        roll, part, wanted = None, Plan((), ()), set(self._crew.couriers)
        if self._stopping:
            pass
        elif isinstance(self._store, Roster):
            now = self._clock.now()
            roll = await self._store.attend(self._holder, self._bots, now + ATTEND_SECONDS, now)
            part = plan(roll, self._holder, self._moving)
            if self._jumps.forward():  # leases seem to have run out whose holders send on, until they renew them
                self._reserve(LEASE_SECONDS)
            if self._trouble_since is not None or _ticks() < self._reserved_until:
                part = replace(part, take=())  # its results are not settled yet, and would be fenced
            if not await self._settled_here(bool(part.take)):
                part = replace(part, take=())
            wanted.update(part.take, (bot for bot, holder in roll.holders.items() if holder == self._holder))
        elif await self._settled_here(any(bot not in self._crew for bot in self._bots)):
            wanted.update(self._bots)
        wanted -= self._to_free
        if not wanted:
            return _Round((), roll, part)
        until = (now := self._clock.now()) + LEASE_SECONDS
        leases = await self._store.lease(self._holder, [bot for bot in self._bots if bot in wanted], until, now)
        return _Round(tuple(replace(lease, until=min(lease.until, until)) for lease in leases), roll, part)

    def _reserve(self, seconds: float) -> None:
        """Who held a bot before has so long to take it up again."""
        self._reserved_until = max(self._reserved_until, _ticks() + seconds)

    async def _settled_here(self, taking: bool) -> bool:
        """Whether bots may be taken: what processes of this machine left behind is settled first. Raises StoreError."""
        if self._leftovers is None or not (taking or self._look_here):
            return True
        self._look_here = True
        try:
            async with asyncio.timeout(SETTLING):
                await self._leftovers.settle()
        except TimeoutError:
            return False
        self._look_here = False
        return True

    def _pause(self, roll: Roll | None) -> float:
        """Until the next round: exactly when somebody who is not heard of any more would be gone."""
        pause = RENEW_EVERY if self._crew.couriers else STANDBY_EVERY
        if roll is None:
            return pause
        self._elsewhere = {bot for bot in self._bots if bot not in self._crew}
        others = [worker for worker in roll.workers if worker.holder != self._holder]
        known = {worker.holder for worker in roll.workers}
        if any(roll.holders.get(bot, self._holder) not in known for bot in self._elsewhere):
            pause = min(pause, STANDBY_EVERY)
        now = self._clock.now()
        return max(0.05, min([pause, *(worker.until - now + 0.02 for worker in others)]))

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._soon.wait()
        except TimeoutError:
            return
        finally:
            self._soon.clear()

    async def _start(self, lease: Lease) -> None:
        if lease.bot in self._crew:
            failed = self._crew.failed(lease)
            await self._crew.drop(lease.bot, "its courier is started anew")
            if failed:
                anew = await self._lease_anew(lease.bot)
                if anew is None:
                    return
                lease = anew
        if self._may_start(lease.bot):
            self._crew.start(lease)

    async def _lease_anew(self, bot: int) -> Lease | None:
        """What a failed courier left in flight is fenced by our own token: only a new one lets it be adopted."""
        try:
            async with self._leasing:
                await self._store.lease(self._holder, [bot], 0.0, self._clock.now())
                until = (now := self._clock.now()) + LEASE_SECONDS
                leases = await self._store.lease(self._holder, [bot], until, now)
        except StoreError:
            return None  # the next round tries again
        return replace(leases[0], until=min(leases[0].until, until)) if leases else None

    # ---------------------------------------------------------------- bots that go elsewhere

    def _move(self, bot: int) -> None:
        if bot in self._crew and bot not in self._moving:
            self._moving[bot] = asyncio.create_task(self._moved(bot), name=f"kurir-move-{bot}")

    async def _moved(self, bot: int) -> None:
        """Let what is in flight come to its end, durably; then the bot is free."""
        try:
            courier = self._crew.couriers.get(bot)
            if courier is None:
                return
            await courier.stop(MOVE_GRACE)
            while self._crew.busy(bot, courier):  # the store is away
                await self._clock.sleep(0.05)
            self._to_free.add(bot)
            await self._crew.drop(bot, "another process takes it over")
            await self._give_up(bot)
        finally:
            del self._moving[bot]

    async def _give_up(self, bot: int) -> None:
        """Free the bot's lease, together with those of others that come at the same time. Nobody waits long for it; it goes
        on, and nobody sends for the bot here until it is done."""
        self._to_free.add(bot)
        freeing = asyncio.create_task(self._free(), name="kurir-free")
        self._freeing.add(freeing)
        freeing.add_done_callback(self._freeing.discard)
        await asyncio.wait((freeing,), timeout=LAST_WORD)

    async def _free(self) -> None:
        """Until the store has confirmed it: a lease that may be given up at any moment is not taken anew."""
        while True:
            async with self._leasing:
                bots = sorted(self._to_free)
                if not bots:
                    return
                with contextlib.suppress(StoreError):
                    await self._store.lease(self._holder, bots, 0.0, self._clock.now())
                    self._freed.update(bots)
                    self._to_free.difference_update(bots)
                    return
            if self._stopping:
                return  # it runs out by itself
            await self._clock.sleep(TRY_AGAIN)

    # ---------------------------------------------------------------- what others do

    async def _watch(self) -> None:
        """Wake the couriers when the store changes: the truth for other processes' messages, a hint for ours. And see
        whether somebody gave up a bot."""
        while True:
            try:
                await self._store.watch(1.0)
            except StoreError:
                await self._clock.sleep(1.0)
            self._crew.wake()
            self._look_around()
            await self._clock.sleep(WAKE_EVERY)

    def _look_around(self) -> None:
        if not self._elsewhere or self._stopping or self._clock.now() < self._look_at:
            return
        if self._looking is None or self._looking.done():
            self._look_at = self._clock.now() + LOOK_EVERY
            self._looking = asyncio.create_task(self._look(), name="kurir-look")

    async def _look(self) -> None:
        """Is a bot free that others had?"""
        if not isinstance(self._store, Roster):
            return
        try:
            async with self._leasing:
                if self._stopping:
                    return
                now = self._clock.now()
                roll = await self._store.attend(self._holder, self._bots, now + ATTEND_SECONDS, now)
        except StoreError:
            return  # the rounds tell of it
        if self._elsewhere - roll.holders.keys():
            self._soon.set()

    def wake(self, bots: Iterable[int]) -> None:
        """There is something to claim, or will be: a claim that stands right behind a submit in the store's queue finds
        it, and shares its commit."""
        self._crew.wake(bots)

    def hear(self, event: object) -> None:
        """A listener: our own submissions wake the courier without a detour."""
        if isinstance(event, Submitted):
            self.wake({draft.bot for draft in event.drafts})

    # ---------------------------------------------------------------- the end

    @property
    def unsettled(self) -> list[Settlement]:
        """Results of couriers that are stopped, or are being, which the store has not taken."""
        return [settlement for courier in self._leaving.values() for settlement in courier.unsettled]

    async def stop(self, grace: float) -> None:
        """Stop all couriers cleanly within `grace` seconds and one more; each one's lease is given up the moment it has
        stopped. Until then they are renewed. What the store does not take is kept on this machine, and its bot's lease is
        not given up: it runs out, unless the next process here settles first. Cancelled: the same, at once."""
        self._stopping = True
        self._leaving = self._crew.couriers
        keeping = asyncio.create_task(self._keep_meanwhile(), name="kurir-keep")
        try:
            await asyncio.gather(self._leave(), *(self._end(bot, grace) for bot in self._leaving))
        except BaseException:
            await self._break_off()
            raise
        finally:
            keeping.cancel()
        await self._keep()

    async def _break_off(self) -> None:
        try:
            for bot, courier in self._leaving.items():
                await courier.break_off()
                await self._crew.drop(bot, "stopped")
        finally:
            if self._leftovers is not None:
                self._leftovers.keep_at_once(self.unsettled)

    async def _keep_meanwhile(self) -> None:
        """A stop may be ended by force at any moment."""
        if not any(courier.failing for courier in self._leaving.values()):
            await self._clock.sleep(KEEP_EVERY)
        while True:
            await asyncio.shield(self._keep())  # who comes next waits for it
            await self._clock.sleep(KEEP_EVERY)

    async def _keep(self) -> None:
        if self._leftovers is not None:
            await self._leftovers.keep(self.unsettled)

    async def _leave(self) -> None:
        """Nothing falls to us any more."""
        if not isinstance(self._store, Roster):
            return
        try:
            async with asyncio.timeout(LAST_WORD), self._leasing:
                await self._store.attend(self._holder, (), 0.0, self._clock.now())
        except (StoreError, TimeoutError):
            return  # we are taken for gone soon

    async def _end(self, bot: int, grace: float) -> None:
        courier = self._leaving[bot]
        await courier.stop(grace)
        await self._crew.drop(bot, "stopped")
        if courier.unsettled:
            await self._keep()
        else:
            await self._give_up(bot)


def _ticks() -> float:
    """Seconds since whenever, by a clock that nobody sets."""
    return asyncio.get_running_loop().time()
