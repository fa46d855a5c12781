"""The courier: sends for one bot while it holds the bot's lease.

    claim ──> wait for the turn ──> attempt ──> settle ──> (the lane is free) claim ...

Three loops: `_claims` takes as much as may leave soon, a task a message carries it, `_settles` makes the results durable
in batches. Invariants: nothing is sent before its claim is durable; a lane's next message is claimed only after the last
one's settle is durable; nothing is sent once the lease has run out.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import replace

from kurir.core.events import Crashed, PaceChanged, Paused, Recovered
from kurir.core.message import Attempt, Claim, Priority
from kurir.core.methods import cost, is_group
from kurir.core.outcome import Delivered, Throttled
from kurir.core.pace import Pace
from kurir.delivery import Delivery
from kurir.ports import Lease, Settlement, Withheld

from .insistence import Insistence
from .leftovers import told
from .line import TOO_FAR, Line
from .reach import Reach
from .references import References
from .suppression import Obituaries
from .tools import Tools

LOOKAHEAD = 0.1  # seconds of the bot's pace that are claimed ahead
LEASE_MARGIN = 0.5  # seconds before the lease's end at which nothing is sent any more
UPLOAD_WAITERS = 10  # claims that wait here for another one's upload; more of them wait in the store ...
UPLOAD_LOOK = 1.0  # ... for so many seconds
ADOPT_AT_ONCE = 500
LAST_CLAIM = 3.0  # seconds at most that a stop waits for the answer to the last claim
CANCELLED = 0.25  # seconds in which cancelled calls come to their end
SETTLED = 0.75  # seconds, these included, in which the store is to take the last results


class Courier:
    """Sends for one bot. `run` returns when `stop` was called or the lease was lost."""

    def __init__(self, bot: int, delivery: Delivery, pace: Pace, tools: Tools) -> None:
        self.bot = bot
        self.pace = pace
        self.in_flight = 0  # claims not yet settled durably
        self._delivery = delivery
        self._store = tools.store
        self._clock = tools.clock
        self._emit = tools.emit
        self._insist = Insistence(tools.clock, tools.emit, tools.rng)
        self._references = References(tools.store, tools.clock, delivery, self._insist)
        self._concurrency = tools.concurrency
        self._lease = Lease(bot, "", 0, 0.0)
        self._stopping = False
        self._claimed = asyncio.Event()  # the last claim is made
        self._stopped = asyncio.Event()
        self._wake = asyncio.Event()
        self._lines = (Line(self._clock), Line(self._clock))  # who waits for a turn: free calls, paid ones
        self._carriers: set[asyncio.Task[None]] = set()
        self.reach = Reach(bot, delivery, pace, tools, self._insist, self.wake)
        self._upload_waiters = 0
        self._look_later = False  # much of what is claimed waits for an upload: no hurry
        self._unsettled: list[Settlement] = []
        self._settling: list[Settlement] = []  # before those: what the store is asked to take just now
        self._to_settle = asyncio.Event()
        self._obituaries = Obituaries(tools.store, tools.emit)

    # ---------------------------------------------------------------- life

    async def run(self, lease: Lease) -> None:
        """Send until stopped. Raises what the code itself got wrong."""
        self._lease = lease
        settles = asyncio.create_task(self._settles(), name=f"kurir-settles-{self.bot}")
        claims = asyncio.create_task(self._recover_and_claim(lease), name=f"kurir-claims-{self.bot}")
        try:
            done, _ = await asyncio.wait((settles, claims), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._stopping = True
            self.reach.close()
            self._obituaries.close()
            for task in (settles, claims, *self._carriers):
                task.cancel()

    @property
    def unsettled(self) -> tuple[Settlement, ...]:
        """Results that the store has not taken, as far as we know."""
        return (*self._settling, *self._unsettled)

    @property
    def failing(self) -> bool:
        """The store refuses something just now."""
        return bool(self._insist.failing)

    def renew(self, lease: Lease) -> None:
        """The lease was prolonged, or the bot was paused or resumed by hand."""
        self.reach.leased(self._lease, lease)
        self._lease = lease
        self._wake.set()

    def wake(self) -> None:
        """There may be something to claim."""
        self._wake.set()

    async def stop(self, grace: float) -> None:
        """Claim nothing more, hand back what has not left, wait up to `grace` seconds for answers. What is then still
        unanswered is in doubt, and recorded as such. Returns when all of it is durable, or the store is away."""
        self._stopping = True
        self.reach.stop()
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._last_claim()
                while self._carriers:
                    await asyncio.wait(self._carriers)
        deadline = self._clock.now() + SETTLED
        await self.break_off()
        while self.in_flight and self._clock.now() < deadline:
            self._to_settle.set()
            await self._clock.sleep(0.01)
        await self.reach.noted(max(0.0, deadline - self._clock.now()))
        await self._obituaries.told(max(0.0, deadline - self._clock.now()))
        self._stopped.set()

    async def break_off(self) -> None:
        """Cancel what is in flight. What left and has no answer is in doubt, in `unsettled` when it returns."""
        self._stopping = True
        for task in self._carriers:
            task.cancel()
        if self._carriers:
            await asyncio.wait(self._carriers, timeout=CANCELLED)

    async def _last_claim(self) -> None:
        """A store that is away is not waited for: what it may have claimed has not left."""
        end = self._clock.now() + LAST_CLAIM
        while not (self._claimed.is_set() or {"adopt", "claim"} & self._insist.failing or self._clock.now() >= end):
            await self._clock.sleep(0.01)

    # ---------------------------------------------------------------- claiming

    async def _recover_and_claim(self, lease: Lease) -> None:
        self.reach.leased(None, lease)
        await self._recover(lease)
        await self._claims()

    async def _recover(self, lease: Lease) -> None:
        """Judge what a courier that died had in flight. What was in flight at a crash before may be what kills couriers: it
        is sent alone, so that the next crash convicts it or clears all others."""
        recent = []
        while orphans := await self._insist("adopt", lambda: self._store.adopt(lease, ADOPT_AT_ONCE)):
            self.in_flight += len(orphans)
            for claim in orphans:
                self._settle(self._delivery.crashed(claim, claim.id == lease.lone))
            now = self._clock.now()
            recent += [(claim.chat, now) for claim in orphans]
            self._emit(Recovered(self.bot, len(orphans)))
        self.pace.restore([*lease.recent, *recent], is_group, self._clock.now())
        while lease.orphans and not self._stopping:
            while (wait := self.pace.paused_until - self._clock.now()) > 0 and not self._stopping:
                await self._clock.sleep(min(wait, 0.5))
            suspects = await self._insist("adopt", lambda: self._store.adopt(lease, 1, suspects=True))
            if not suspects:
                return
            self._emit(Recovered(self.bot, 1))
            chat = suspects[0].chat
            self.pace.sent(chat, is_group(chat), self._clock.now(), cost(suspects[0].method), booked=False)
            await self._retry_alone(suspects[0], suspects[0].id == lease.lone)

    async def _retry_alone(self, claim: Claim, alone: bool) -> None:
        """Nothing else is in flight until this one is settled."""
        while self.in_flight:
            await self._wake.wait()
            self._wake.clear()
        self.in_flight = 1
        crashed = self._delivery.crashed(claim, alone)
        if crashed.state.final:
            self._settle(crashed)
            return
        again = replace(claim, crashes=crashed.crashes, doubts=crashed.doubts, attempts=claim.attempts + 1)
        paid = _is_paid(claim)
        self.pace.reserve(self._clock.now(), paid)
        carrier = asyncio.create_task(self._carry_safely(again, paid, crashed.attempt))
        self._carriers.add(carrier)
        carrier.add_done_callback(self._carriers.discard)
        await asyncio.wait((carrier,))

    async def _claims(self) -> None:
        while not self._stopping:
            self._wake.clear()
            room, until = self._room()
            if room > 0:
                now = self._clock.now()
                lease, low = self._lease, self.pace.low(room)
                claimed = await self._insist("claim", lambda: self._store.claim(lease, now, room, low))  # noqa: B023
                self._launch(claimed.claims)
                if len(claimed.claims) == room and not self._look_later:
                    continue
                until = claimed.next_at
            if self._look_later:
                self._look_later = False
                await self._clock.sleep(LOOKAHEAD)
                continue
            await self._sleep(until)
        self._claimed.set()
        await self._stopped.wait()

    def _room(self) -> tuple[int, float | None]:
        """How many to claim now; if none, when to look again (None: when woken)."""
        now = self._clock.now()
        if self.reach.out or not self._may_send(now):
            return 0, None
        room = self._concurrency - self.in_flight
        if room <= 0:
            return 0, None
        room = min(room, self.pace.available(now, LOOKAHEAD))
        if room > 0:
            return room, None
        step = min(0.25, max(0.002, 1 / self.pace.rate))
        return 0, max(now + step, min(self.pace.paused_until, now + 60) - LOOKAHEAD)

    def _may_send(self, now: float) -> bool:
        return now < self._lease.until - LEASE_MARGIN

    def _launch(self, claims: tuple[Claim, ...]) -> None:
        if not claims:
            return
        low = sum(claim.priority is Priority.LOW for claim in claims)
        self.pace.claimed(low, len(claims) - low)
        self.in_flight += len(claims)
        for claim in claims:
            paid = _is_paid(claim)
            self.pace.reserve(self._clock.now(), paid)
            task = asyncio.create_task(self._carry_safely(claim, paid))
            self._carriers.add(task)
            task.add_done_callback(self._carriers.discard)

    async def _sleep(self, until: float | None) -> None:
        """Until woken, or `until` (Unix seconds)."""
        if until is None:
            await self._wake.wait()
            return
        seconds = until - self._clock.now()
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    # ---------------------------------------------------------------- carrying

    async def _carry_safely(self, claim: Claim, paid: bool, before: Attempt | None = None) -> None:
        """What our own code got wrong about a message harms that message alone: it counts as a crash of its courier.
        `before`: an attempt to be recorded first."""
        try:
            settlement = await self._carry(claim, paid)
        except Exception as error:
            self._emit(Crashed(f"the delivery of {claim.id}", f"{type(error).__name__}: {error}"))
            settlement = self._delivery.crashed(claim, alone=True)
        self._settle(settlement if before is None else replace(settlement, before=before))

    async def _carry(self, claim: Claim, paid: bool) -> Settlement:
        """One claim to its settlement."""
        settlement = self._delivery.unsent(claim)
        if settlement is None:
            try:
                resolved = await self._references.resolve(claim)
            except asyncio.CancelledError:
                resolved = self._delivery.hand_back(claim)
            if isinstance(resolved, Claim):
                claim = resolved
            else:
                settlement = resolved
        if settlement is None:
            try:
                chat_at = await self._upload(claim, paid)
                if chat_at is None and claim.files:
                    settlement = await self._fetch(claim, paid)
                if chat_at is None and settlement is None:
                    chat_at = await self._turn(claim, paid)
            except asyncio.CancelledError:
                chat_at = 0.0
            if chat_at is None and self._delivery.upload_ahead(claim):
                chat_at = self._clock.now() + UPLOAD_LOOK  # somebody else began it just now
            if chat_at is not None:
                settlement = replace(self._delivery.hand_back(claim), chat_at=chat_at)
            elif settlement is None:
                settlement = self._delivery.unsent(claim)  # it may have expired in the meantime
        if settlement is not None:
            self.pace.unreserve(paid)
            return settlement
        group = is_group(claim.chat)
        left_at = self._clock.now()
        chat_at = self.pace.sent(claim.chat, group, left_at, cost(claim.method), paid=paid)
        try:
            tried = await self._delivery.attempt(claim, chat_at, lambda: self._may_send(self._clock.now()))
        except (asyncio.CancelledError, Withheld):  # it had not begun, or the lease ran out before it could leave
            return self._delivery.hand_back(claim)
        settlement = tried.settlement
        if isinstance(tried.outcome, Throttled):
            settlement = replace(settlement, chat_at=self._throttled(claim, tried.outcome, left_at, paid))
        elif isinstance(tried.outcome, Delivered):
            self.pace.answered(left_at, paid)
        self.reach.consider(tried)
        return settlement

    async def _upload(self, claim: Claim, paid: bool) -> float | None:
        """Where another message uploads the claim's file just now, wait for its `file_id` (a few do, and hold no place in
        the pace meanwhile) or come back later."""
        upload = self._delivery.upload_ahead(claim)
        if upload is None:
            return None
        if self._upload_waiters >= UPLOAD_WAITERS:
            self._look_later = True
            return self._clock.now() + UPLOAD_LOOK
        self._upload_waiters += 1
        self.pace.unreserve(paid)
        try:
            await upload.wait()
        finally:
            self._upload_waiters -= 1
            self.pace.reserve(self._clock.now(), paid)
        return None

    async def _fetch(self, claim: Claim, paid: bool) -> Settlement | None:
        """Its files are waited for, without a place in the pace; while they cannot be had, it comes back later."""
        self.pace.unreserve(paid)
        try:
            why = await self._delivery.fetch(claim)
        finally:
            self.pace.reserve(self._clock.now(), paid)
        if why is None:
            return None
        return replace(self._delivery.hand_back(claim), reason=why, chat_at=self._clock.now() + UPLOAD_LOOK)

    def _obstacle(self, claim: Claim) -> float | None:
        """Why the claim has to go back: its chat hears nothing before the answer (0: no matter of the chat)."""
        now = self._clock.now()
        if self._stopping or self.reach.out or not self._may_send(now):
            return 0.0
        chat_at = self.pace.chat_slot(claim.chat, is_group(claim.chat), now, cost(claim.method))
        return chat_at if chat_at > now else None

    async def _turn(self, claim: Claim, paid: bool) -> float | None:
        """Wait until the claim may leave; None: it may, now. Else it goes back and its chat hears nothing before."""
        answer = await self._lines[paid].turn(
            int(claim.priority),
            lambda: self._obstacle(claim),
            lambda: self.pace.ready_at(self._clock.now(), paid) - self._clock.now(),
        )
        if answer != TOO_FAR:
            return answer
        at = self.pace.ready_at(self._clock.now(), paid)
        return 0.0 if math.isinf(at) else min(at, self._clock.now() + 60.0)

    def _throttled(self, claim: Claim, outcome: Throttled, left_at: float, paid: bool) -> float:
        """Who is to wait, and how long: `chat_at`."""
        now = self._clock.now()
        group = is_group(claim.chat)
        pause = self.pace.throttled(claim.chat, group, now, outcome.retry_after, left_at, paid)
        self._emit(Paused(self.bot, claim.chat, pause.chat_until, outcome.reason))
        if pause.bot_until is not None:
            self.reach.pause(pause.bot_until, outcome.reason)
        for correction in self.pace.corrections():
            self._emit(PaceChanged(self.bot, correction.scope, correction.rate))
        return pause.chat_until

    # ---------------------------------------------------------------- settling

    def _settle(self, settlement: Settlement) -> None:
        self._unsettled.append(settlement)
        self._to_settle.set()

    async def _settles(self) -> None:
        """Make results durable. They are kept until the store has taken them."""
        while True:
            await self._to_settle.wait()
            self._to_settle.clear()
            batch, self._unsettled = self._unsettled, []
            if not batch:
                continue
            self._settling = batch
            now = self._clock.now()
            kept = await self._insist("settle", lambda: self._store.settle(batch, now))  # noqa: B023 - awaited here
            self._settling = []
            self.in_flight -= len(batch)
            for settlement, ok in zip(batch, kept, strict=True):
                if (event := told(settlement, ok, now)) is not None:
                    self._emit(event)
            self._obituaries.after([s for s, ok in zip(batch, kept, strict=True) if ok], now)
            self._wake.set()


def _is_paid(claim: Claim) -> bool:
    return b'"allow_paid_broadcast":true' in claim.params.replace(b" ", b"") if b"paid_b" in claim.params else False
