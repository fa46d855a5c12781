"""The situations that the plan names, in virtual time, with the real engine. Each prints its figures (`pytest -s`).

Virtual time does not count what the CPU takes; `bench/` measures that."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from kurir import Kurir, Message, Settings
from kurir.app import Parts
from kurir.core.message import Record, State
from kurir.ports import Query
from kurir.simulator.faults import Faults, Kind
from kurir.simulator.journal import Entry, Report, Verb
from kurir.simulator.limits import Limits
from kurir.simulator.model import ChatState
from kurir.simulator.transport import InProcessTransport
from kurir.simulator.world import World
from kurir.stores.memory import MemoryStore
from tests.virtual import VirtualClock

from .loop import run

TOKEN = "123456:SCENARIOS"


@dataclass(slots=True)
class Stage:
    """A world, and a Kurir in it."""

    clock: VirtualClock
    world: World
    kurir: Kurir
    expected: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))

    def text(self, chat: int, **more: Any) -> Message:
        """A message with a mark of its own."""
        mark = (
            f"m{sum(map(len, self.expected.values()))}"
            if len(self.expected) < 50
            else f"m{chat}-{len(self.expected[chat])}"
        )
        self.expected[chat].append(mark)
        return Message("sendMessage", {"chat_id": chat, "text": mark}, **more)

    async def submit(self, messages: Iterable[Message]) -> None:
        waiting = list(messages)
        for start in range(0, len(waiting), 1000):
            await self.kurir.submit(waiting[start : start + 1000])

    async def drained(self, within: float) -> None:
        end = self.clock.now() + within
        while self.clock.now() < end:
            if all(bot.waiting == 0 for bot in (await self.kurir.stats()).bots):
                return
            await self.clock.sleep(0.5)
        raise AssertionError(f"not drained within {within:g} s: {(await self.kurir.stats()).bots}")

    async def records(self) -> list[Record]:
        found: list[Record] = []
        cursor = None
        while True:
            page = await self.kurir.store.find(Query(limit=1000, cursor=cursor, with_attempts=True))
            found += page.items
            if page.next is None:
                return found
            cursor = page.next

    def report(self) -> Report:
        return self.world.journal.report(list(self.expected.items()))

    @property
    def sent(self) -> list[Entry]:
        return self.world.journal.sent()

    @property
    def throttled(self) -> int:
        return self.world.journal.count(Verb.THROTTLED)


def play(
    act: Callable[[Stage], Awaitable[None]],
    *,
    limits: Limits | None = None,
    latency: float = 0.05,
    pace: str = "on",
    faults: Faults | None = None,
) -> None:
    """Set the stage, and play."""

    async def main() -> None:
        clock = VirtualClock(asyncio.get_running_loop())  # type: ignore[arg-type]
        world = World(clock, seed=1, limits=limits, faults=faults, open_doors=True)
        world.add_bot(TOKEN)
        transport = InProcessTransport(world, clock, latency=latency)
        parts = Parts(transport=transport, clock=clock, rng=random.Random(3), holder="stage")
        async with Kurir(MemoryStore(), TOKEN, settings=Settings(), parts=parts, pace=pace) as kurir:
            await clock.sleep(0.1)
            await act(Stage(clock, world, kurir))

    run(main)


def tell(name: str, **figures: Any) -> None:
    shown = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items())
    print(f"\n{name}: {shown}")


# ---------------------------------------------------------------- loss and outages


def test_forty_percent_loss_loses_nothing() -> None:
    """2,000 messages, 40 % of all calls lost, half of them after Telegram took the message."""

    async def act(stage: Stage) -> None:
        blocked, poisoned = [1000 + n for n in range(3)], [1010, 1011]
        for chat in blocked:
            stage.world.add_chat(chat)
            stage.world.set_state(chat, ChatState.BLOCKED)
        rng = random.Random(7)
        chats = [1000 + n for n in range(80)] + [-1_001_000_000_000 - n for n in range(10)]
        messages = [stage.text(rng.choice(chats)) for _ in range(2000 - len(poisoned))]
        poison = [Message("sendMessage", {"chat_id": c, "text": "<b>", "parse_mode": "HTML"}) for c in poisoned]
        await stage.submit([*messages[:900], *poison, *messages[900:]])
        refused = sum(len(stage.expected.pop(chat, [])) for chat in blocked) + len(poison)
        await stage.drained(3600)
        report = stage.report()
        dead = [record for record in await stage.records() if record.state is State.DEAD]
        tell("40 % loss", accepted=2000, lost=len(report.lost), doubled=len(report.doubled), explained=report.explained,
             reordered=len(report.reordered), dead=len(dead), refused=refused, s429=report.throttled)  # fmt: skip
        assert report.clean
        assert len(dead) == refused
        assert all("blocked" in (r.reason or "") or "parse entities" in (r.reason or "") for r in dead)

    play(act, faults=Faults.lossy(0.4, rng=random.Random(5)))


def test_a_twelve_hour_outage_costs_nothing() -> None:
    """Not a try, not a message; afterwards the backlog leaves at full pace, most urgent first."""

    async def act(stage: Stage) -> None:
        start, hours = stage.clock.now(), 12 * 3600.0
        stage.world.faults.outage(start, start + hours, Kind.REFUSED)
        names = ("low", "normal", "high", "critical")
        every = 150
        for number, name in enumerate(names):
            await stage.submit(stage.text(10_000 * (number + 1) + n, priority=name) for n in range(every))
            await stage.clock.sleep(hours / 5)
        assert all(r.tries == 0 and not r.state.final for r in await stage.records())
        await stage.clock.sleep(start + hours - stage.clock.now())
        await stage.drained(120)
        records, sent = await stage.records(), stage.sent
        took = sent[-1].at - sent[0].at
        rank = {
            name: [n for n, e in enumerate(sent) if int(e.chat or 0) // 10_000 == i + 1] for i, name in enumerate(names)
        }
        tell("12 h outage", tries=sum(r.tries for r in records), back_after=sent[0].at - start - hours,
             rate=len(sent) / took, last_critical=rank["critical"][-1], last_high=rank["high"][-1],
             last_normal=rank["normal"][-1], s429=stage.throttled)  # fmt: skip
        assert all(r.state is State.DELIVERED and r.tries == 0 for r in records)
        assert sent[0].at - start - hours <= 11.0
        assert len(sent) / took >= 0.99 * 30
        others = 1 / 0.8  # LOW has its share of what leaves
        assert rank["critical"][-1] <= every * others + 10
        assert rank["high"][-1] <= 2 * every * others + 10
        assert rank["normal"][-1] <= 3 * every * others + 10
        assert stage.throttled == 0

    play(act)


# ---------------------------------------------------------------- pace


def test_a_broadcast_leaves_at_full_pace_with_no_429() -> None:
    """1,500 messages to 500 chats: at least 99 % of 30/s."""

    async def act(stage: Stage) -> None:
        start = stage.clock.now()
        await stage.submit(stage.text(1000 + n % 500) for n in range(1500))
        await stage.drained(120)
        rate = 1500 / (stage.sent[-1].at - start)
        tell("1,500 to 500 chats", rate=rate, share=rate / 30, s429=stage.throttled)
        assert rate >= 0.99 * 30
        assert stage.throttled == 0
        assert stage.report().clean

    play(act)


def test_a_group_is_served_at_full_pace_with_no_429() -> None:
    """60 messages to one group: at least 99 % of 20/min."""

    async def act(stage: Stage) -> None:
        await stage.submit(stage.text(-1_001_234_567_890) for _ in range(60))
        await stage.drained(400)
        took = stage.sent[-1].at - stage.sent[0].at
        tell("60 to one group", seconds=took, share=120 / took, s429=stage.throttled)
        assert took <= 120 / 0.99  # 20 at once, 20 a minute later, 20 two minutes later
        assert stage.throttled == 0
        assert stage.report().clean

    play(act)


def test_fifty_at_once_to_one_chat_in_order_with_no_429() -> None:
    async def act(stage: Stage) -> None:
        await stage.submit(stage.text(1000) for _ in range(50))
        await stage.drained(120)
        took = stage.sent[-1].at - stage.sent[0].at
        tell("50 to one chat", seconds=took, s429=stage.throttled)
        assert took <= 50
        assert stage.throttled == 0
        assert stage.report().clean

    play(act)


def test_limits_wrong_by_a_fifth_settle() -> None:
    """The server takes 24/s where 30/s are configured: within 60 s at least 90 % of it, with few 429s."""

    async def act(stage: Stage) -> None:
        start = stage.clock.now()
        await stage.submit(stage.text(1000 + n % 1200) for n in range(24 * 150))
        await stage.drained(900)
        share = stage.world.journal.share(24, start + 60, start + 140)
        late = sum(1 for e in stage.world.journal.entries if e.verb is Verb.THROTTLED and e.at > start + 60)
        tell("20 % stricter", share=share, s429=stage.throttled, after_60_s=late)
        assert share >= 0.9
        assert stage.throttled <= 60
        assert stage.report().clean

    limits = Limits()
    play(act, limits=replace(limits, bot=((24, 1.0),)))


# ---------------------------------------------------------------- neighbours


def test_a_backlog_for_one_chat_does_not_delay_another() -> None:
    """10,000 waiting for one chat, limits off: another chat's message is there within 100 ms."""

    async def act(stage: Stage) -> None:
        await stage.submit(stage.text(1000) for _ in range(10_000))
        await stage.clock.sleep(1.0)
        delays = []
        for _ in range(20):
            began = stage.clock.now()
            receipt = await stage.kurir.submit(stage.text(2000))
            await receipt.delivered(5.0)
            (*_, entry) = [e for e in stage.world.journal.entries[-50:] if e.chat == 2000]
            delays.append(entry.at - began)
            await stage.clock.sleep(0.05)
        tell("10,000 for one chat", worst_ms=1000 * max(delays))
        assert max(delays) < 0.1

    play(act, limits=Limits.none(), pace="off", latency=0.02)


def test_a_broadcast_does_not_delay_a_critical_message() -> None:
    """20,000 low ones waiting (the bench has 100,000): a critical one is there within 250 ms."""

    async def act(stage: Stage) -> None:
        await stage.submit(stage.text(100_000 + n, priority="low") for n in range(20_000))
        await stage.clock.sleep(2.0)
        delays = []
        for n in range(20):
            began = stage.clock.now()
            receipt = await stage.kurir.submit(stage.text(1000 + n, priority="critical"))
            await receipt.delivered(5.0)
            (entry,) = [e for e in stage.world.journal.entries if e.chat == 1000 + n]
            delays.append(entry.at - began)
            await stage.clock.sleep(0.37)
        tell("20,000 low ones", worst_ms=1000 * max(delays), s429=stage.throttled)
        assert max(delays) < 0.25
        assert stage.throttled == 0

    play(act, latency=0.02)
