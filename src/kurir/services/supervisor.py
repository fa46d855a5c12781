"""Which bots this process sends for: takes and renews leases, starts and stops a courier for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from kurir.core.errors import StoreError
from kurir.core.events import Crashed, Leased, StoreBack, StoreTrouble, Submitted, Unleased
from kurir.ports import Lease

from .courier import Courier
from .tools import Tools

LEASE_SECONDS = 10.0  # a standby takes over so long after a holder was last heard of
RENEW_EVERY = 3.0  # seconds
WAKE_EVERY = 0.01  # seconds between two wake-ups of all couriers at most


class Supervisor:
    """One per process. `holder` names it in leases; it must be unique to this run."""

    def __init__(self, bots: Iterable[int], make: Callable[[int], Courier], tools: Tools, holder: str) -> None:
        self._bots = tuple(bots)
        self._make = make
        self._store = tools.store
        self._clock = tools.clock
        self._emit = tools.emit
        self._holder = holder
        self._couriers: dict[int, tuple[Courier, int, asyncio.Task[None]]] = {}
        self._stopping = False
        self._trouble_since: float | None = None

    @property
    def couriers(self) -> dict[int, Courier]:
        """The couriers at work, by bot."""
        return {bot: courier for bot, (courier, _, _) in self._couriers.items()}

    async def run(self) -> None:
        """Until cancelled; `stop` first for a clean end."""
        watch = asyncio.create_task(self._watch(), name="kurir-watch")
        try:
            while not self._stopping:
                await self._renew()
                await self._clock.sleep(RENEW_EVERY if self._couriers else 1.0)
        finally:
            watch.cancel()

    async def _renew(self) -> None:
        now = self._clock.now()
        try:
            leases = await self._store.lease(self._holder, self._bots, now + LEASE_SECONDS, now)
        except StoreError as error:  # the leases we hold run out by themselves
            if self._trouble_since is None:
                self._trouble_since = now
                self._emit(StoreTrouble("lease", str(error)))
            return
        if self._trouble_since is not None:
            self._emit(StoreBack(self._clock.now() - self._trouble_since))
            self._trouble_since = None
        if self._stopping:
            return
        held = {lease.bot: lease for lease in leases}
        for bot in [b for b in self._couriers if b not in held]:
            await self._drop(bot, "another process holds the bot now")
        for lease in held.values():
            running = self._couriers.get(lease.bot)
            if running is not None and running[1] == lease.token and not running[2].done():
                running[0].renew(lease)
            else:
                await self._start(lease)

    async def _start(self, lease: Lease) -> None:
        if lease.bot in self._couriers:
            _, token, task = self._couriers[lease.bot]
            failed = task.done() and token == lease.token
            await self._drop(lease.bot, "its courier is started anew")
            if failed:
                anew = await self._lease_anew(lease.bot)
                if anew is None:
                    return
                lease = anew
        courier = self._make(lease.bot)
        task = asyncio.create_task(courier.run(lease), name=f"kurir-courier-{lease.bot}")
        task.add_done_callback(self._ended)
        self._couriers[lease.bot] = (courier, lease.token, task)
        self._emit(Leased(lease.bot, lease.token))

    async def _lease_anew(self, bot: int) -> Lease | None:
        """What a failed courier left in flight is fenced by our own token: only a new one lets it be adopted."""
        now = self._clock.now()
        try:
            await self._store.lease(self._holder, [bot], 0.0, now)
            leases = await self._store.lease(self._holder, [bot], now + LEASE_SECONDS, now)
        except StoreError:
            return None  # the next round tries again
        return leases[0] if leases else None

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._emit(Crashed(task.get_name(), f"{type(error).__name__}: {error}"))

    async def _drop(self, bot: int, why: str) -> None:
        _, _, task = self._couriers.pop(bot)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self._emit(Unleased(bot, why))

    async def _watch(self) -> None:
        """Wake the couriers when the store changes: the truth for other processes' messages, a hint for ours."""
        while True:
            try:
                await self._store.watch(1.0)
            except StoreError:
                await self._clock.sleep(1.0)
            for courier, _, _ in self._couriers.values():
                courier.wake()
            await self._clock.sleep(WAKE_EVERY)

    def wake(self, bots: Iterable[int]) -> None:
        """There is something to claim, or will be: a claim that stands right behind a submit in the store's queue finds
        it, and shares its commit."""
        for bot in bots:
            if bot in self._couriers:
                self._couriers[bot][0].wake()

    def hear(self, event: object) -> None:
        """A listener: our own submissions wake the courier without a detour."""
        if isinstance(event, Submitted):
            self.wake({draft.bot for draft in event.drafts})

    async def stop(self, grace: float) -> None:
        """Stop all couriers cleanly within `grace` seconds and give up their leases."""
        self._stopping = True
        await asyncio.gather(*(courier.stop(grace) for courier, _, _ in self._couriers.values()))
        bots = list(self._couriers)
        for bot in bots:
            await self._drop(bot, "stopped")
        if bots:
            try:
                await self._store.lease(self._holder, bots, 0.0, self._clock.now())
            except StoreError:
                return  # they run out by themselves
