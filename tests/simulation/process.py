"""A simulated process: a real `Kurir` between proxies of the store and the network, and its sudden end.

`kill` is SIGKILL: from then on nothing that the process does has any effect. A store step under way at that moment is
carried out or not (the dice tell), and so is an HTTP call. Clean-up code still runs, into the void.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from kurir import Kurir, Settings
from kurir.app import Parts
from kurir.core.errors import StoreAway, StoreError, StoreFull
from kurir.core.events import Event
from kurir.core.message import Accepted, Claim, Draft
from kurir.core.outcome import Answer, NoReply, Reply
from kurir.ports import Call, Change, Claimed, Clock, Lease, Page, Pruned, Query, Roll, Roster, Settlement, Stats, Store
from kurir.simulator.transport import InProcessTransport
from kurir.simulator.world import Exchange, World

from .loop import SimTask, outside
from .scenario import BOT, TOKEN, Kill, Scenario, Trouble

WRITES = frozenset({"submit", "lease", "claim", "adopt", "settle", "alter", "steer", "suppress", "prune", "attend"})


class RosterStore(Store, Roster, Protocol):
    """What every store is."""


def mark_of(method: str, params: Any) -> str | None:
    """What names a message in the world: the first word of its text, or what it deletes."""
    for name in ("text", "caption"):
        if text := params.get(name):
            return str(text).split(" ", 1)[0]
    if isinstance(media := params.get("media"), list):
        return str(media[0].get("caption", ""))
    if method == "deleteMessage":
        return f"delete:{params.get('message_id')}"
    return None


@dataclass(slots=True, eq=False)
class CallRecord:
    """One HTTP call, as its process and the world saw it. Times are Unix seconds."""

    process: str
    method: str
    chat: str
    mark: str | None
    started: float
    claim: Claim | None
    ended: float | None = None
    answer: Answer | None = None
    abandoned: bool = False  # its process was killed, or cancelled it
    entry: int | None = None  # of the world's journal
    handled_at: float | None = None

    @property
    def lost(self) -> bool:
        """Did its process not learn what Telegram did?"""
        return self.abandoned or self.answer is None or self.ambiguous

    @property
    def ambiguous(self) -> bool:
        """No answer after bytes had left, or one that leaves it open."""
        if isinstance(self.answer, NoReply):
            return self.answer.sent
        if isinstance(self.answer, Reply):
            return self.answer.status >= 500 or (
                self.answer.payload is None or "failed to send message #" in str(self.answer.payload.get("description"))
            )
        return False

    def __str__(self) -> str:
        end = "abandoned" if self.abandoned else _short(self.answer)
        return f"{self.process} {self.method} {self.mark} to {self.chat}: {end} (world #{self.entry})"


def _short(answer: Answer | None) -> str:
    match answer:
        case None:
            return "open"
        case NoReply(kind, sent):
            return f"{kind.value}{' after it left' if sent else ''}"
        case Reply(status, payload):
            return f"{status} {(payload or {}).get('description', '')}".strip()


@dataclass(slots=True)
class Settled:
    """A settlement that the store took (or fenced)."""

    at: float
    process: str
    settlement: Settlement
    kept: bool


@dataclass(slots=True)
class Log:
    """All that happened, for the invariants; and a trace to read and to compare."""

    clock: Clock
    epoch: float
    calls: list[CallRecord] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    events: list[tuple[float, str, Event]] = field(default_factory=list)
    leases: list[tuple[float, str, Lease]] = field(default_factory=list)
    kills: list[tuple[float, str]] = field(default_factory=list)
    submits: list[tuple[float, Draft, Accepted]] = field(default_factory=list)
    changed: dict[str, list[tuple[float, str]]] = field(default_factory=dict)  # id -> (when, what)
    stops: list[tuple[float, float, str]] = field(default_factory=list)  # began, ended, who
    errors: list[str] = field(default_factory=list)
    lines: list[tuple[float, str, str, Any]] = field(default_factory=list)

    def line(self, who: str, what: str, about: Any = None) -> None:
        self.lines.append((self.clock.now() - self.epoch, who, what, about))


current_call: contextvars.ContextVar[CallRecord | None] = contextvars.ContextVar("call", default=None)


class ObservedWorld(World):
    """Tells each call's record what became of it."""

    log: Log

    def exchange(self, token: str, method: str, params: Any, files: Any = None) -> Exchange:
        exchange = super().exchange(token, method, params, files)
        record = current_call.get()
        if record is not None:
            record.handled_at = self.clock.now()
            response = exchange.response
            record.entry = response.entry if response else None
            status = response.status if response else None
            fault = exchange.fault.kind.value if exchange.fault else ""
            self.log.line("world", f"{method} {record.mark} to {record.chat}: {status} #{record.entry} {fault}")
        return exchange


@dataclass(slots=True)
class Surroundings:
    """What all processes share."""

    scenario: Scenario
    clock: Clock
    world: ObservedWorld
    log: Log
    rng: random.Random
    open_store: Callable[[], RosterStore]
    kills: list[Kill]

    def trouble(self, who: str, kinds: Sequence[str]) -> Trouble | None:
        now = self.clock.now() - self.log.epoch
        for trouble in self.scenario.troubles:
            if trouble.who in (who, "all") and trouble.kind in kinds and trouble.start <= now < trouble.end:
                return trouble
        return None


class Process:
    """One run of a process named `who` ("courier0", "client1"): between start and kill or stop."""

    def __init__(self, who: str, run: int, around: Surroundings, *, courier: bool) -> None:
        self.who = who
        self.name = f"{who}.{run}"
        self.around = around
        self.alive = True
        self.stopping = False
        self.steps: Counter[str] = Counter()
        self.held: dict[str, Claim] = {}  # mark -> claim
        self._tasks: dict[SimTask, None] = {}
        self.store = around.open_store()
        s = around.scenario
        self.kurir = Kurir(
            StoreProxy(self, self.store),
            TOKEN,
            courier=courier,
            settings=Settings(concurrency=s.concurrency),
            parts=Parts(
                transport=TransportProxy(self),
                clock=around.clock,
                rng=random.Random(f"{s.seed}-{self.name}"),
                holder=self.name,
                listeners=(self._hear,),
            ),
            pace="off" if s.pace == "off" else "on",
        )

    def adopt(self, task: SimTask) -> None:
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def _hear(self, event: Event) -> None:
        if self.alive:
            log = self.around.log
            log.events.append((self.around.clock.now(), self.name, event))
            log.line(self.name, type(event).__name__, event)

    # ------------------------------------------------------------ life and death

    async def start(self) -> None:
        """In a context of its own: `outside(process.start(), process)`."""
        while True:
            try:
                return await self.kurir.start()
            except StoreError:
                await self.around.clock.sleep(0.5)

    async def stop(self) -> None:
        """A clean stop."""
        self.stopping = True
        began = self.around.clock.now()
        self.around.log.line(self.name, "stops")
        try:
            await self.kurir.close()
        finally:
            if self.alive:
                self.around.log.stops.append((began, self.around.clock.now(), self.name))
            self.alive = False
            outside(self._bury())
        self.around.log.line(self.name, "has stopped")

    def kill(self) -> None:
        """SIGKILL."""
        if not self.alive:
            return
        self.alive = False
        self.around.log.line(self.name, "is killed")
        self.around.log.kills.append((self.around.clock.now(), self.name))
        outside(self._bury())

    async def _bury(self) -> None:
        for _ in range(100):
            if not self._tasks:
                return
            for task in list(self._tasks):
                task.cancel()
            await asyncio.sleep(0)

    async def living(self) -> None:
        """Returns for the living only."""
        if not self.alive:
            await asyncio.get_running_loop().create_future()

    def passes(self, verb: str, late: bool) -> None:
        """A step comes to its start, or (`late`) its end: is this where the scenario kills?"""
        if not late:
            self.steps[verb] += 1
        now = self.around.clock.now() - self.around.log.epoch
        for kill in self.around.kills:
            due = kill.verb == verb and kill.late == late and kill.who == self.who and now >= kill.at
            if due and self.steps[verb] >= kill.nth and self.alive:
                self.around.kills.remove(kill)
                self.kill()
                return


class StoreProxy:
    """The store as one process reaches it: a moment away, sometimes in trouble, and out of reach for the dead."""

    def __init__(self, process: Process, store: RosterStore) -> None:
        self._process = process
        self._store = store
        self._around = process.around

    async def _step(self, verb: str, act: Callable[[], Awaitable[Any]]) -> Any:
        process = self._process
        await process.living()
        process.passes(verb, False)
        self._trouble(verb)
        try:
            await self._delay()
        except asyncio.CancelledError:
            await self._cancelled(verb, act)
            raise
        await process.living()
        self._trouble(verb)
        result = await self._act(verb, act)
        await self._delay()
        process.passes(verb, True)
        await process.living()
        return result

    async def _act(self, verb: str, act: Callable[[], Awaitable[Any]]) -> Any:
        try:
            result = await act()
        except Exception as error:
            self._around.log.line(self._process.name, f"{verb} raises", error)
            raise
        if verb in WRITES:
            self._around.log.line(self._process.name, verb, result)
        return result

    async def _cancelled(self, verb: str, act: Callable[[], Awaitable[Any]]) -> None:
        """Cancelled (or killed) while the step is on its way: carried out all the same, or not."""
        around = self._around
        if verb not in WRITES or around.rng.random() < 0.5:
            return
        around.log.line(self._process.name, f"{verb} was on its way and is carried out")
        if not self._process.alive and around.rng.random() < 0.3:
            outside(self._late(verb, act))
            return
        try:
            await self._act(verb, act)
        except StoreError:
            return

    async def _late(self, verb: str, act: Callable[[], Awaitable[Any]]) -> None:
        await self._around.clock.sleep(self._around.rng.uniform(0, 0.05))
        try:
            await self._act(verb, act)
        except StoreError:
            return

    async def _delay(self) -> None:
        around = self._around
        if around.trouble(self._process.who, ("slow",)):
            await around.clock.sleep(around.rng.uniform(0.5, 6.0))
            return
        least, most = around.scenario.store_latency
        if most:
            await around.clock.sleep(around.rng.uniform(least, most))

    def _trouble(self, verb: str) -> None:
        kinds = ("full", "away") if verb in WRITES else ("away",)
        trouble = self._around.trouble(self._process.who, kinds)
        if trouble is None:
            return
        if trouble.kind == "full":
            raise StoreFull("no room left (simulated)", "Free disk space.")
        raise StoreAway("the store is away (simulated)", "Wait.")

    # ------------------------------------------------------------ the verbs

    async def open(self) -> None:
        await self._process.living()
        await self._store.open()

    async def close(self) -> None:
        await self._process.living()
        await self._store.close()

    async def submit(self, drafts: Sequence[Draft], now: float) -> list[Accepted]:
        async def act() -> list[Accepted]:
            accepted = await self._store.submit(drafts, now)
            at = self._around.clock.now()
            self._around.log.submits += [(at, d, a) for d, a in zip(drafts, accepted, strict=True)]
            return accepted

        result: list[Accepted] = await self._step("submit", act)
        return result

    async def lease(self, holder: str, bots: Sequence[int], until: float, now: float) -> list[Lease]:
        result: list[Lease] = await self._step("lease", lambda: self._store.lease(holder, bots, until, now))
        self._around.log.leases += [(self._around.clock.now(), self._process.name, lease) for lease in result]
        return result

    async def claim(self, lease: Lease, now: float, limit: int, low: int = 0) -> Claimed:
        result: Claimed = await self._step("claim", lambda: self._store.claim(lease, now, limit, low))
        self._hold(result.claims)
        return result

    async def adopt(self, lease: Lease, limit: int, suspects: bool = False) -> list[Claim]:
        result: list[Claim] = await self._step("adopt", lambda: self._store.adopt(lease, limit, suspects))
        self._hold(result)
        return result

    def _hold(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            mark = mark_of(claim.method, orjson.loads(claim.params))
            if mark is not None:
                self._process.held[mark] = claim

    async def settle(self, settlements: Sequence[Settlement], now: float) -> list[bool]:
        async def act() -> list[bool]:
            kept = await self._store.settle(settlements, now)
            at, name = self._around.clock.now(), self._process.name
            self._around.log.settled += [Settled(at, name, s, ok) for s, ok in zip(settlements, kept, strict=True)]
            return kept

        result: list[bool] = await self._step("settle", act)
        return result

    async def find(self, query: Query) -> Page:
        result: Page = await self._step("find", lambda: self._store.find(query))
        return result

    async def alter(self, query: Query, change: Change, now: float) -> list[str]:
        async def act() -> list[str]:
            ids = await self._store.alter(query, change, now)
            at = self._around.clock.now()
            for id in ids:
                self._around.log.changed.setdefault(id, []).append((at, type(change).__name__))
            return ids

        result: list[str] = await self._step("alter", act)
        return result

    async def steer(
        self, bot: int, *, chat: str | None = None, until: float, reason: str | None = None, extend: bool = False
    ) -> None:
        await self._step("steer", lambda: self._store.steer(bot, chat=chat, until=until, reason=reason, extend=extend))

    async def suppress(self, bot: int, chat: str, why: str | None, now: float) -> None:
        await self._step("suppress", lambda: self._store.suppress(bot, chat, why, now))

    async def stats(self, bot: int | None = None, days: int = 31) -> Stats:
        result: Stats = await self._step("stats", lambda: self._store.stats(bot, days))
        return result

    async def prune(self, before: float, now: float, limit: int = 1000, lift_before: float = 0.0) -> Pruned:
        result: Pruned = await self._step("prune", lambda: self._store.prune(before, now, limit, lift_before))
        return result

    async def attend(self, holder: str, bots: Sequence[int], until: float, now: float) -> Roll:
        result: Roll = await self._step("attend", lambda: self._store.attend(holder, bots, until, now))
        return result

    async def watch(self, timeout: float) -> None:
        await self._process.living()
        self._trouble("watch")
        await self._store.watch(timeout)
        await self._process.living()


class TransportProxy:
    """The network as one process reaches it. A call outlives its process, or not."""

    def __init__(self, process: Process) -> None:
        self._process = process
        around = process.around
        least, most = around.scenario.latency
        rng = random.Random(f"{around.scenario.seed}-latency-{process.name}")
        latency = least if most == least else lambda: rng.uniform(least, most)
        self._inner = InProcessTransport(around.world, around.clock, latency=latency)

    async def call(self, call: Call) -> Answer:
        process, around = self._process, self._process.around
        await process.living()
        process.passes("call", False)
        await process.living()
        params = orjson.loads(call.params)
        mark = mark_of(call.method, params)
        claim = process.held.get(mark) if mark else None
        record = CallRecord(
            process.name, call.method, str(params.get("chat_id", params.get("user_id", ""))), mark,
            around.clock.now(), claim,
        )  # fmt: skip
        around.log.calls.append(record)
        around.log.line(process.name, f"calls {call.method} {mark} to {record.chat}")
        inner = outside(self._run(record, call))
        try:
            record.answer = await asyncio.shield(inner)
        except asyncio.CancelledError:
            record.abandoned = True
            if around.rng.random() < 0.5:
                inner.cancel()
            raise
        finally:
            record.ended = around.clock.now()
            around.log.line(process.name, "call ended", str(record))
        process.passes("call", True)
        await process.living()
        return record.answer

    async def _run(self, record: CallRecord, call: Call) -> Answer:
        current_call.set(record)
        return await self._inner.call(call)

    async def close(self) -> None:
        """Nothing to release."""


__all__ = ["BOT", "CallRecord", "Log", "ObservedWorld", "Process", "Settled", "StoreProxy", "Surroundings", "mark_of"]
