"""The demo's course: who does what when, and what is measured meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import aiohttp

from kurir.app import Kurir
from kurir.cli.filters import records
from kurir.core.errors import KurirError
from kurir.core.message import Record, State
from kurir.delivery import message_ids
from kurir.message import Message
from kurir.ports import Query, Stats
from kurir.records import is_held, loads

from .cast import Line, Plan, Story
from .screen import Scene, Screen
from .stage import Telegram, Worker

LOOK = 0.25  # seconds between looks at both sides
READY_FOR = 0.15  # seconds a lane must have been ready for, to say that there was something to send
RATE_OVER = 2.0  # seconds
CALLS = ("sent", "partial", "edited", "refused", "throttled")


@dataclass(frozen=True, slots=True)
class Script:
    """What happens when; seconds from the start."""

    loss: float = 0.4
    latency: float = 0.1
    submit_until: float = 34.0
    kill_at: float = 12.0
    outage_at: float = 20.0
    outage_for: float = 15.0
    heal_at: float = 55.0
    patience: float = 150.0

    def scaled(self, factor: float) -> Script:
        times = ("submit_until", "outage_at", "outage_for", "kill_at", "heal_at")
        return replace(self, **{name: getattr(self, name) * factor for name in times})


@dataclass(slots=True)
class Course:
    """What was seen from outside. Times of day in Unix seconds."""

    lines: dict[str, Line] = field(default_factory=dict)  # by message id
    changes: int = 0  # edits and deletions handed over
    stories: dict[int, int] = field(default_factory=dict)  # index in the plan -> Telegram's message id
    kills: list[float] = field(default_factory=list)
    back: dict[str, float] = field(default_factory=dict)  # seconds until calls arrived again
    busy: float = 0.0  # seconds in which there was something to send and a way
    busy_calls: float = 0.0  # calls that left then
    seconds: float = 0.0
    left: int = 0  # messages still waiting at the end

    @property
    def accepted(self) -> int:
        return len(self.lines) + self.changes


class Play:
    """One run. `course` fills while it runs."""

    def __init__(self, plan: Plan, script: Script, telegram: Telegram, worker: Worker, kurir: Kurir) -> None:
        self.course = Course()
        limit = kurir.settings.bots[0].limits.bot.per_second
        self.scene = Scene(planned=len(plan.lines), limit=limit)
        self._plan = plan
        self._script = script
        self._telegram = telegram
        self._worker = worker
        self._kurir = kurir
        self._started = time.monotonic()
        self._base: dict[int, str] = {}  # index of a story -> id of its first message
        self._resets = 0
        self._last_entry = 0
        self._able = False
        self._waiting_since: tuple[str, float] | None = None  # for calls to arrive again
        self._recent: list[tuple[float, int]] = []

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    async def run(self, screen: Screen) -> None:
        """Raises KurirError when a process does not do its part."""
        self._started = time.monotonic()
        await self._telegram.populate(self._plan.chats)
        await self._telegram.weather(self._script.loss, self._script.latency)
        self.scene.network = f"losing {self._script.loss:.0%} of all calls"
        await self._worker.start()
        self.scene.worker = f"pid {self._worker.pid} starts"
        self._waiting_since = ("start", time.time())
        async with asyncio.TaskGroup() as group:
            acts = [group.create_task(act) for act in (self._submit(), self._weather(), self._crash(), self._change())]
            await self._watch(screen, acts)
        self.course.seconds = self._elapsed

    # ---------------------------------------------------------------- acts

    async def _submit(self) -> None:
        """Half at once, the rest bit by bit: before, in and after the outage."""
        lines = list(self._plan.lines)
        half = len(lines) // 2
        await self._hand_over(lines[:half])
        for piece, at in _pieces(lines[half:], self._elapsed, self._script.submit_until):
            await self._until(at)
            await self._hand_over(piece)
        self.scene.tell(f"all {len(lines)} messages are handed over")

    async def _hand_over(self, lines: list[Line]) -> None:
        for start in range(0, len(lines), 200):
            some = lines[start : start + 200]
            receipts = await self._kurir.submit([line.message for line in some])
            for line, receipt in zip(some, receipts, strict=True):
                self.course.lines[receipt.id] = line
                for number, story in enumerate(self._plan.stories):
                    if story.line is line:
                        self._base[number] = receipt.id

    async def _weather(self) -> None:
        script, scene = self._script, self.scene
        await self._until(script.outage_at)
        await self._telegram.ask("POST", "outages", {"in": 0, "for": script.outage_for})
        scene.network = "out: connections are refused"
        scene.tell(f"the network is out for {script.outage_for:g} s")
        self._able = False
        await asyncio.sleep(script.outage_for)
        scene.network = f"losing {script.loss:.0%} of all calls"
        scene.tell("the network is back, and as bad as before")
        self._waiting_since = ("outage", time.time())
        await self._until(script.heal_at)
        await self._telegram.weather(0.0, script.latency)
        scene.network = "ok"
        scene.tell("the network is good from now on")

    async def _crash(self) -> None:
        await self._until(self._script.kill_at)
        pid = self._worker.pid
        self._able = False
        self.course.kills.append(time.time())
        await self._worker.kill()
        self.scene.worker = f"pid {pid} killed"
        self.scene.tell(f"SIGKILL to the courier, pid {pid}")
        await asyncio.sleep(0.5)
        await self._worker.start()
        self.scene.worker = f"pid {self._worker.pid} starts"
        self._waiting_since = ("kill", self.course.kills[-1])
        self.scene.tell(f"the courier is started again, pid {self._worker.pid}")

    async def _change(self) -> None:
        """Edit or delete what has arrived: some at once, the last step later."""
        todo = dict(enumerate(self._plan.stories))
        later: dict[int, Story] = {}
        while todo:
            await asyncio.sleep(0.5)
            for number, record in await self._delivered(set(todo)):
                story = todo.pop(number)
                self.course.stories[number] = message_ids(loads(record.result))[0]
                later[number] = story
                await self._edit(number, story, story.edits[:-1])
        await asyncio.sleep(1.0)
        for number, story in later.items():
            await (self._edit(number, story, story.edits[-1:]) if story.edits else self._delete(number, story))

    async def _delivered(self, numbers: set[int]) -> list[tuple[int, Record]]:
        ids = {self._base[number]: number for number in numbers if number in self._base}
        if not ids:
            return []
        page = await self._kurir.store.find(Query(ids=tuple(ids), states=(State.DELIVERED,)))
        return [(ids[record.id], record) for record in page.items]

    async def _edit(self, number: int, story: Story, texts: tuple[str, ...]) -> None:
        where = {"chat_id": story.line.chat, "message_id": self.course.stories[number]}
        await self._hand_over_changes([Message("editMessageText", {**where, "text": text}) for text in texts])

    async def _delete(self, number: int, story: Story) -> None:
        where = {"chat_id": story.line.chat, "message_id": self.course.stories[number]}
        await self._hand_over_changes([Message("deleteMessage", where)])

    async def _hand_over_changes(self, messages: list[Message]) -> None:
        self.course.changes += len(await self._kurir.submit(messages))

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - self._elapsed))

    # ---------------------------------------------------------------- watching

    async def _watch(self, screen: Screen, acts: list[asyncio.Task[None]]) -> None:
        """Until all acts are over and nothing waits."""
        before = time.monotonic()
        while True:
            stats = await self._kurir.stats()
            left = await self._telegram_calls()
            now = time.monotonic()
            self._measure(stats, left, now - before)
            before = now
            self._describe(stats)
            screen.show(self.scene)
            if self.scene.waiting == 0 and all(act.done() for act in acts):
                return
            if self._elapsed > self._script.patience:
                self.course.left = self.scene.waiting
                for act in acts:
                    act.cancel()
                return
            await asyncio.sleep(LOOK)

    async def _telegram_calls(self) -> int | None:
        """Calls that left for Telegram since the last look; None while nothing gets through."""
        try:
            answer = await self._telegram.ask("GET", f"journal?since={self._last_entry}")
        except (OSError, aiohttp.ClientError):
            return None
        entries = [entry for entry in answer["entries"] if entry["verb"] in CALLS]
        if answer["entries"]:
            self._last_entry = answer["entries"][-1]["number"]
        resets = int(answer["faults"].get("reset_before", 0))
        calls = len(entries) + max(0, resets - self._resets)
        self._resets = resets
        if self._waiting_since is not None:
            name, since = self._waiting_since
            if first := next((entry["arrived"] for entry in entries if entry["arrived"] > since), None):
                self.course.back[name] = round(first - since, 2)
                self._waiting_since, self._able = None, True
        return calls

    def _measure(self, stats: Stats, calls: int | None, span: float) -> None:
        ready = any(bot.oldest_due is not None and bot.oldest_due < time.time() - READY_FOR for bot in stats.bots)
        if calls is not None and self._able and ready:
            self.course.busy += span
            self.course.busy_calls += calls
        self._recent.append((self._elapsed, calls or 0))
        self._recent = [(at, n) for at, n in self._recent if at > self._elapsed - RATE_OVER]
        self.scene.rate = sum(n for _, n in self._recent) / min(RATE_OVER, max(self._elapsed, LOOK))

    def _describe(self, stats: Stats) -> None:
        scene = self.scene
        if int(self._elapsed) > int(scene.elapsed):
            scene.curve.append(scene.rate)
        scene.elapsed = self._elapsed
        scene.accepted = self.course.accepted
        scene.planned = max(scene.planned, scene.accepted)
        for bot in stats.bots:
            scene.delivered, scene.dead, scene.waiting = bot.delivered, bot.dead, bot.waiting
            scene.other = bot.cancelled + bot.expired
            if (
                is_held(bot, time.time())
                and self._worker.pid is not None
                and f":{self._worker.pid}:" in (bot.holder or "")
            ):
                scene.worker = f"sends, pid {self._worker.pid}"
        if self._worker.pid is None and not scene.worker.endswith("killed"):
            said = self._worker.log.read_text("utf8", "replace")[-500:]
            raise KurirError(f"the worker ended by itself: {said}", "Run `kurir doctor`.")


def _pieces(lines: list[Line], start: float, end: float) -> Iterator[tuple[list[Line], float]]:
    """Evenly spread pieces, one about every second, and when each is due."""
    count = max(1, int(end - start))
    size = max(1, -(-len(lines) // count))
    for number, first in enumerate(range(0, len(lines), size), 1):
        yield lines[first : first + size], start + number * (end - start) / count


async def dead_records(kurir: Kurir) -> list[Record]:
    return [record async for record in records(kurir, Query(states=(State.DEAD,)))]
