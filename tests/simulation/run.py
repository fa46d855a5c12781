"""Plays a scenario with the real engine in virtual time, and keeps what the invariants need."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kurir import Message
from kurir.core.errors import InvalidMessage, KurirError, StoreError
from kurir.core.message import Accepted, Record, State
from kurir.ports import Query, Requeue, Stats, Store
from kurir.services.receipts import Receipt
from kurir.simulator.faults import Faults, Outage
from kurir.simulator.model import ChatState
from tests.contract.stores import Place
from tests.virtual import EPOCH, VirtualClock

from .loop import outside, run
from .process import Log, ObservedWorld, Process, Surroundings, mark_of
from .scenario import BOT, TOKEN, ChatPlan, Kill, Plan, Scenario
from .stores import STORES

SHM = Path("/dev/shm")
PATIENCE = 3 * 3960.0  # seconds after faults end: some waits of the slow schedule, jitter included


@dataclass(slots=True)
class Sent:
    """What an application handed over: which ids it was told, and what it knows."""

    plan: Plan
    ids: list[str] = field(default_factory=list)  # one for each submit that returned
    tried: int = 0
    edits: list[str] = field(default_factory=list)  # marks, in the order in which they were accepted
    last_edit: str | None = None
    edit_ids: dict[str, str] = field(default_factory=dict)
    deleted_id: str | None = None


@dataclass(slots=True)
class Evidence:
    """All there is to judge a run by."""

    scenario: Scenario
    log: Log
    world: ObservedWorld
    sent: dict[str, Sent]
    batches: dict[tuple[int, int], list[str]]  # (group, client) -> marks
    records: list[Record]
    stats: Stats
    ended: bool
    quiet_at: float  # Unix seconds
    over_at: float

    def digest(self) -> str:
        """The same for the same run."""
        told = hashlib.sha256()
        for line in self.log.lines:
            told.update(repr(line[:3]).encode())
            told.update(str(line[3]).encode())
        for entry in self.world.journal.entries:
            told.update(repr(entry).encode())
        for record in self.records:
            told.update(repr(record).encode())
        return told.hexdigest()


class _Alarm(logging.Handler):
    """Hears what the engine logs as an error of its own."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.ERROR)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._log.errors.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


def simulate(scenario: Scenario, change: Callable[[Surroundings], None] | None = None) -> Evidence:
    """Play it to its end."""
    folder = Path(tempfile.mkdtemp(prefix="kurir-sim-", dir=SHM if SHM.is_dir() else None))
    logger = logging.getLogger("kurir")
    before = logger.level, logger.propagate
    try:
        with STORES[scenario.store](folder) as place:
            return run(lambda: _played(scenario, place, change))
    finally:
        logger.setLevel(before[0])
        logger.propagate = before[1]
        shutil.rmtree(folder, ignore_errors=True)


async def _played(scenario: Scenario, place: Place, change: Callable[[Surroundings], None] | None) -> Evidence:
    return await Play(scenario, place, change).play()


class Play:
    """One run."""

    def __init__(self, scenario: Scenario, place: Place, change: Callable[[Surroundings], None] | None = None) -> None:
        self.s = scenario
        self.clock = VirtualClock(asyncio.get_running_loop())  # type: ignore[arg-type]
        self.log = Log(self.clock, EPOCH)
        self.rng = random.Random(f"{scenario.seed}-play")
        self.world = self._world()
        self._place = place
        self._stores: list[Store] = []
        self.around = Surroundings(
            scenario, self.clock, self.world, self.log, self.rng, self._open_store,
            [k for k in scenario.kills if k.verb],
        )  # fmt: skip
        if change:
            change(self.around)
        self.processes: dict[str, Process] = {}
        self.runs: dict[str, int] = {}
        self.down: set[str] = set()
        self.sent = {plan.mark: Sent(plan) for plan in scenario.plans}
        self.batches: dict[tuple[int, int], list[str]] = {}
        self.handing_over = 0
        self._alarm = _Alarm(self.log)

    def _world(self) -> ObservedWorld:
        s = self.s
        outages = [Outage(EPOCH + o.start, EPOCH + o.end, o.kind) for o in s.outages]
        faults = Faults(*s.rules, outages=outages, rng=random.Random(f"{s.seed}-faults"))
        world = ObservedWorld(self.clock, seed=s.seed, limits=s.limits, faults=faults, mark=mark_of)
        world.log = self.log
        world.add_bot(TOKEN)
        for chat in s.chats:
            world.add_chat(chat.id, chat.type)
        return world

    def _open_store(self) -> Store:
        store = self._place()
        self._stores.append(store)
        return store

    # ------------------------------------------------------------ the run

    async def play(self) -> Evidence:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, told: self._engine_error(told))
        logger = logging.getLogger("kurir")
        logger.setLevel(logging.ERROR)
        logger.propagate = False
        logger.addHandler(self._alarm)
        try:
            return await self._play()
        finally:
            logger.removeHandler(self._alarm)

    def _engine_error(self, told: dict[str, Any]) -> None:
        error = told.get("exception")
        if not isinstance(error, asyncio.CancelledError):
            self.log.errors.append(f"{told.get('message')}: {error!r}")

    async def _play(self) -> Evidence:
        judge = self._open_store()
        await judge.open()
        for i in range(self.s.couriers):
            self._launch(f"courier{i}")
        for i in range(self.s.clients):
            self._launch(f"client{i}")
        jobs = [outside(self._chat(chat)) for chat in self.s.chats if chat.trouble]
        jobs += [outside(self._end(kill)) for kill in self.s.kills if not kill.verb]
        jobs += [outside(self._revive())]
        await self._applications()
        await self.clock.sleep(EPOCH + self.s.quiet_at - self.clock.now())
        self._quiet()
        ended = await self._settle_down(judge)
        over_at = self.clock.now()
        for job in jobs:
            job.cancel()
        for process in list(self.processes.values()):
            if process.alive and not process.stopping:
                await outside(process.stop(), process)
        await self.clock.sleep(1.0)
        records = await _all(judge)
        evidence = Evidence(
            self.s, self.log, self.world, self.sent, self.batches, records, await judge.stats(), ended,
            EPOCH + self.s.quiet_at, over_at,
        )  # fmt: skip
        for store in self._stores:
            await store.close()
        return evidence

    def _quiet(self) -> None:
        self.log.line("world", "all faults end")
        self.world.faults.clear()
        self.around.kills.clear()

    async def _settle_down(self, judge: Store) -> bool:
        """Whether everything reached its end in time."""
        end = self.clock.now() + PATIENCE
        step = 0.5
        while self.clock.now() < end:
            stats = await judge.stats()
            if not self.handing_over and all(bot.waiting == 0 for bot in stats.bots):
                return True
            await self.clock.sleep(step)
            step = min(step * 1.2, 20.0)
        return False

    # ------------------------------------------------------------ processes

    def _launch(self, who: str) -> None:
        self.runs[who] = self.runs.get(who, -1) + 1
        process = Process(who, self.runs[who], self.around, courier=who.startswith("courier"))
        self.processes[who] = process
        self.log.line(process.name, "starts")
        outside(process.start(), process)

    async def _end(self, kill: Kill) -> None:
        await self.clock.sleep(kill.at)
        process = self.processes.get(kill.who)
        if process is None or not process.alive or process.stopping:
            return
        if kill.clean:
            await outside(process.stop(), process)
        else:
            process.kill()

    async def _revive(self) -> None:
        """Whoever is down comes back after a while; at the latest when all is quiet."""
        rests = {kill.who: kill.back_after for kill in self.s.kills}
        while True:
            await self.clock.sleep(0.1 if self.clock.now() < EPOCH + self.s.quiet_at + 30 else 5.0)
            for who, process in list(self.processes.items()):
                if not process.alive and who not in self.down:
                    self.down.add(who)
                    outside(self._relaunch(who, rests.get(who, 0.0)))

    async def _relaunch(self, who: str, after: float) -> None:
        await self.clock.sleep(after)
        self.down.discard(who)
        self._launch(who)

    # ------------------------------------------------------------ chats

    async def _chat(self, chat: ChatPlan) -> None:
        if chat.trouble == "broken":
            return
        await self.clock.sleep(chat.at)
        if chat.trouble == "migrates":
            self.world.migrate(chat.id, chat.to)
            self.log.line("world", f"{chat.id} migrates to {chat.to}")
            return
        self.world.set_state(chat.id, ChatState(chat.trouble))
        self.log.line("world", f"{chat.id} is {chat.trouble}")
        if chat.back_at is None:
            return
        await self.clock.sleep(chat.back_at - chat.at)
        self.world.set_state(chat.id, ChatState.OPEN)
        self.log.line("world", f"{chat.id} is open again")
        await self._change(Query(chat=str(chat.id), bot=BOT, limit=1000), Requeue())

    async def _change(self, query: Query, change: Any) -> None:
        """An operator's hand, from a process that lives just for it."""
        process = Process("operator", self.runs.setdefault("operator", 0), self.around, courier=False)
        self.runs["operator"] += 1
        for _ in range(20):
            try:
                await process.store.open()
                await process.kurir.store.alter(query, change, self.clock.now())
                return
            except StoreError:
                await self.clock.sleep(1.0)

    # ------------------------------------------------------------ applications

    async def _applications(self) -> None:
        groups: dict[tuple[int, int], list[Plan]] = {}
        for plan in self.s.plans:
            groups.setdefault((plan.group, plan.client), []).append(plan)
        jobs = [outside(self._application(key, plans)) for key, plans in sorted(groups.items())]
        await asyncio.gather(*jobs)

    async def _application(self, key: tuple[int, int], plans: list[Plan]) -> None:
        await self.clock.sleep(plans[0].at)
        self.batches[key] = [plan.mark for plan in plans]
        client = f"client{plans[0].client}"
        await self._as(client, lambda process: self._hand_over(process, plans))

    async def _as(self, who: str, act: Callable[[Process], Any]) -> None:
        """Do it in a process; if the process dies, what it did remains half done."""
        while not (process := self.processes[who]).alive or process.stopping:
            await self.clock.sleep(0.2)
        self.handing_over += 1
        task = outside(act(process), process)
        try:
            await asyncio.wait([task])
        finally:
            self.handing_over -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            self.log.errors.append(f"an application saw {error!r}")

    async def _hand_over(self, process: Process, plans: list[Plan]) -> None:
        for plan in plans:
            for after in plan.again:
                outside(self._again(process.who, plan, after))
        messages = [self._message(plan) for plan in plans]
        receipts = await self._submit(process, messages)
        for plan, receipt in zip(plans, receipts, strict=bool(receipts)):
            self.sent[plan.mark].ids.append(receipt.id)
            self._later(process, plan, receipt)

    async def _submit(self, process: Process, messages: list[Message]) -> list[Receipt]:
        while True:
            try:
                return await process.kurir.submit(messages)
            except StoreError:
                await self.clock.sleep(0.3)
            except InvalidMessage:
                return []  # it expired while the store was away

    def _later(self, process: Process, plan: Plan, receipt: Receipt) -> None:
        who = process.who
        if plan.cancel_after is not None:
            outside(self._cancel(who, receipt.id, plan.cancel_after))
        if plan.edits:
            outside(self._as(who, lambda process: self._edit(process, plan, receipt.id)))

    async def _again(self, who: str, plan: Plan, after: float) -> None:
        await self.clock.sleep(after)

        async def act(process: Process) -> None:
            for receipt in await self._submit(process, [self._message(plan)]):
                self.sent[plan.mark].ids.append(receipt.id)

        await self._as(who, act)

    async def _cancel(self, who: str, id: str, after: float) -> None:
        await self.clock.sleep(after)

        async def act(process: Process) -> None:
            try:
                await process.kurir.cancel(id)
            except KurirError:
                return  # too late, or the store is away

        await self._as(who, act)

    async def _edit(self, process: Process, plan: Plan, id: str) -> None:
        """A streamed answer: edits one after another, and perhaps the end of it."""
        receipt = await self._submit_known(process, id)
        if receipt is None:
            return
        sent, message_id = self.sent[plan.mark], receipt
        for n, after in enumerate(plan.edits):
            await self.clock.sleep(after)
            mark = f"{plan.mark}e{n}"
            await self._set(process, sent, mark, "editMessageText", message_id, text=f"{mark} edited")
        if plan.delete:
            await self._set(process, sent, "delete", "deleteMessage", message_id)
        if plan.edit_after_delete:
            mark = f"{plan.mark}e{len(plan.edits)}"
            await self._set(process, sent, mark, "editMessageText", message_id, text=f"{mark} edited")

    async def _set(self, process: Process, sent: Sent, mark: str, method: str, id: int, **more: Any) -> None:
        params = {"chat_id": sent.plan.chat, "message_id": id, **more}
        (receipt,) = await self._submit(process, [Message(method, params)])
        sent.edits.append(mark)
        sent.edit_ids[mark] = receipt.id

    async def _submit_known(self, process: Process, id: str) -> int | None:
        """The message id Telegram gave, once it is delivered; None if that takes too long."""
        kurir = process.kurir
        for _ in range(3):
            try:
                receipt = Receipt(_accepted(id), kurir._waiting)
                result = await receipt.delivered(timeout=40.0)
                return int(result["message_id"]) if isinstance(result, dict) and "message_id" in result else None
            except StoreError:
                await self.clock.sleep(1.0)
            except KurirError:
                return None
        return None

    def _message(self, plan: Plan) -> Message:
        method, params = _call(plan)
        now = self.clock.now()
        return Message(
            method,
            params,
            priority=plan.priority,
            idempotency_key=plan.key,
            due_at=None if plan.due_in is None else now + plan.due_in,
            expires_at=None if plan.expires_in is None else now + plan.expires_in,
            on_unknown="hold" if plan.hold else None,
            ordering="strict" if plan.strict else "fifo",
            max_attempts=plan.max_attempts,
            delete_after=plan.delete_after,
            metadata={"mark": plan.mark},
        )


def _accepted(id: str) -> Any:
    return Accepted(id, State.WAITING)


def _call(plan: Plan) -> tuple[str, dict[str, Any]]:
    chat, mark = plan.chat, plan.mark
    match plan.kind:
        case "gift":
            return "sendGift", {"chat_id": chat, "gift_id": "1", "text": mark}
        case "paid":
            return "sendMessage", {"chat_id": chat, "text": mark, "allow_paid_broadcast": True}
        case "album":
            items = [{"type": "photo", "media": f"https://example.org/{n}.jpg"} for n in range(3)]
            items[0]["caption"] = mark
            return "sendMediaGroup", {"chat_id": chat, "media": items}
        case "too_long":
            return "sendMessage", {"chat_id": chat, "text": f"{mark} " + "x" * 4100}
        case "bad_markup":
            return "sendMessage", {"chat_id": chat, "text": f"{mark} <b>bold", "parse_mode": "HTML"}
    return "sendMessage", {"chat_id": chat, "text": mark}


async def _all(store: Store) -> list[Record]:
    records: list[Record] = []
    cursor = None
    while True:
        page = await store.find(Query(limit=1000, oldest_first=True, with_attempts=True, cursor=cursor))
        records += page.items
        if page.next is None:
            return records
        cursor = page.next
