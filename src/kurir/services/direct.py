"""Calls that are not stored: what is worth something now or never (class B), what asks (class D), and what Kurir does
not know. They go straight to Telegram, and the caller has its answer.

How each is treated says `core/treatment.py`. This loop makes the tries, refuses what comes at a bad time before it costs
anything, and remembers who the bot is.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kurir.core.classify import classify
from kurir.core.errors import UnknownBot
from kurir.core.events import Called, Event, Leased, OutageBegan, OutageEnded, Paused, Unleased
from kurir.core.link import broke
from kurir.core.methods import canonical, known
from kurir.core.outcome import Answer, Break, Delivered, NoReply, Reply, name_of
from kurir.core.treatment import Treatment, pause_before, treatment
from kurir.ports import Call, Clock, Part, Transport

TURN: Final = 10.0  # seconds a call waits for its turn
RECALL_AFTER: Final = 2.0  # seconds `getMe` is tried when its answer is known; clients wait 5 (python-telegram-bot)
PROBES_COME: Final = 10.0  # seconds between probes of an outage: when to ask again
SOON: Final = 1.0  # seconds after which a crowd may have gone

_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
_NO_METHOD: Final = Reply(404, {"ok": False, "error_code": 404, "description": "Not Found: method not found"})


@dataclass(slots=True, eq=False)
class _Line:
    """What is known of one bot."""

    token: str = field(repr=False)
    test: bool
    turns: asyncio.Semaphore
    out: int = 0  # counted calls that have their turn
    away: str | None = None  # why Telegram is out of reach
    paused_until: float = 0.0  # by a flood wait; Unix seconds
    me: Reply | None = None  # the last good answer to `getMe`


@dataclass(slots=True, eq=False)
class _Course:
    """One call on its way."""

    call: Call
    rules: Treatment
    cut: asyncio.Timeout
    repeats: int = 0
    doubt: bool = False  # an earlier try may have been done
    word: str = "abandoned"  # how it ended, for `Called`


class Direct:
    """Asks Telegram and hands back what it answers, for the bots with these `tokens` (by bot id).

    `at_once`: calls of one bot that are out at most, long polls aside; class B is refused from half of that on.
    `tests`: the bots that live in Telegram's test environment.
    """

    def __init__(
        self,
        tokens: Mapping[int, str],
        transport: Transport,
        clock: Clock,
        rng: random.Random,
        emit: Callable[[Event], None],
        *,
        at_once: int = 100,
        tests: Collection[int] = (),
    ) -> None:
        self._lines = {bot: _Line(token, bot in tests, asyncio.Semaphore(at_once)) for bot, token in tokens.items()}
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self._emit = emit
        self._at_once = at_once
        self._courses: set[_Course] = set()
        self._closed = False
        self._idle = asyncio.Event()

    # ---------------------------------------------------------------- doors

    async def call(self, bot: int, method: str, params: bytes, parts: tuple[Part, ...] = ()) -> Answer:
        """Telegram's answer, or one in its shape that says why there is none; NoReply where the last try broke.
        `params` is a JSON object. Never raises for what the network or Telegram does; raises UnknownBot. Cancelling it
        gives the call up."""
        line = self._lines.get(bot)
        if line is None:
            raise UnknownBot("bot", f"{bot} is not configured", "Give Kurir its token.")
        name, started = canonical(method), self._clock.now()
        rules = treatment(name, params)
        call = Call(line.token, name, params, parts, rules.patience, line.test)
        if name == "getMe" and line.me is not None:
            rules = replace(rules, life=RECALL_AFTER, strict=True)
        course = _Course(call, rules, asyncio.timeout(rules.life if rules.strict else None))
        try:
            answer = await self._answer(line, course)
        finally:
            duration = max(0.0, self._clock.now() - started)
            self._emit(Called(bot, name if known(name) else "unknown", course.word, duration, course.repeats))
        return answer

    def me(self, bot: int) -> Mapping[str, Any] | None:
        """Who the bot is, if `getMe` was answered once."""
        line = self._lines.get(bot)
        user = line.me.payload.get("result") if line and line.me and line.me.payload else None
        return user if isinstance(user, dict) else None

    def introduce(self, bot: int, user: Mapping[str, Any]) -> None:
        """Who the bot was when Telegram was asked last: good enough for `getMe` until it can be asked again."""
        line = self._lines.get(bot)
        if line is not None and line.me is None:
            line.me = Reply(200, {"ok": True, "result": user})

    def hear(self, event: Event) -> None:
        """A listener: outages, and pauses of a whole bot."""
        line = self._lines.get(getattr(event, "bot", 0))
        if line is None:
            return
        match event:
            case OutageBegan(why=why):
                line.away = why
            case OutageEnded() | Leased() | Unleased():  # whoever holds the bot from now on tells of outages anew
                line.away = None
            case Paused(chat=None, until=until):
                line.paused_until = until if math.isfinite(until) else 0.0  # a refused token: Telegram says so itself
            case _:
                pass

    async def close(self, grace: float = 0.0) -> None:
        """Take no calls any more. Those that are out get `grace` seconds, long polls none; then their callers are told
        that Kurir is closing."""
        self._closed = True
        now = asyncio.get_running_loop().time()
        for course in self._courses:
            until = course.cut.when()
            last = now + (grace if course.rules.counted else 0.0)
            if not course.cut.expired():
                course.cut.reschedule(last if until is None else min(until, last))
        if self._courses:
            await self._idle.wait()

    # ---------------------------------------------------------------- one call

    async def _answer(self, line: _Line, course: _Course) -> Answer:
        """The answer; `course.word` says how it came about."""
        name = course.call.method
        refusal = self._refusal(line, course)
        if refusal is not None:
            return refusal
        if name == "getMe" and line.away is not None and line.me is not None:
            course.word = "cached"
            return line.me
        answer = await self._in_time(line, course)
        if name == "getMe" and line.me is not None and broke(answer):
            course.word = "cached"
            return line.me
        if course.word == "abandoned":
            course.word = _outcome(name, answer)
        return answer

    def _refusal(self, line: _Line, course: _Course) -> Reply | None:
        """Why the call is not even tried."""
        if self._closed:
            return _closing(course)
        if not _NAME.fullmatch(course.call.method):
            course.word = "refused"
            return _NO_METHOD
        refusal = self._pressure(line, course.call.method) if course.rules.sheds else None
        if refusal is not None:
            course.word = "shed"
        return refusal

    def _pressure(self, line: _Line, name: str) -> Reply | None:
        """Why the bot has no room for what is worth something now or never."""
        dropped = f"{name} is worth something now or never, and was not sent"
        left = line.paused_until - self._clock.now()
        if left > 0:
            told = f"Too Many Requests: retry after {math.ceil(left)} (a flood wait holds the bot; {dropped})"
            return _envelope(429, told, left)
        if line.away is not None:
            told = f"Service Unavailable: Telegram is out of reach ({line.away}); {dropped}"
            return _envelope(503, told, PROBES_COME)
        if line.out > self._at_once / 2:
            told = f"Service Unavailable: {line.out} other calls of the bot are out; {dropped}"
            return _envelope(503, told, SOON)
        return None

    async def _in_time(self, line: _Line, course: _Course) -> Answer:
        """The call, cut where its life or Kurir's ends."""
        self._courses.add(course)
        try:
            async with course.cut:
                return await self._in_turn(line, course)
        except TimeoutError:
            if self._closed:
                return _closing(course)
            return NoReply(Break.TIMEOUT, True, f"no answer within {course.rules.life:g} s")
        finally:
            self._courses.discard(course)
            if self._closed and not self._courses:
                self._idle.set()

    async def _in_turn(self, line: _Line, course: _Course) -> Answer:
        """First come, first served; long polls need no turn."""
        if not course.rules.counted:
            return await self._tries(line, course)
        try:
            async with asyncio.timeout(TURN):
                await line.turns.acquire()
        except TimeoutError:
            course.word = "busy"
            full = f"{self._at_once} other calls of the bot were out"
            told = f"Service Unavailable: its turn did not come in {TURN:g} s, {full}; it was not sent"
            return _envelope(503, told, SOON)
        line.out += 1
        try:
            return await self._tries(line, course)
        finally:
            line.out -= 1
            line.turns.release()

    async def _tries(self, line: _Line, course: _Course) -> Answer:
        """Try, and try again where it helps and harms nobody."""
        rules = course.rules
        until = self._clock.now() + rules.life
        while True:
            answer = await self._try(line, course)
            if not _again(answer, rules):
                return answer
            pause = pause_before(course.repeats + 1, self._rng.random())
            cached = line.me is not None and course.call.method == "getMe"
            hopeless = line.away is not None and (rules.sheds or cached)
            if hopeless or self._clock.now() + pause >= until:
                return answer
            await self._clock.sleep(pause)
            course.repeats += 1

    async def _try(self, line: _Line, course: _Course) -> Answer:
        answer = await self._transport.call(course.call)
        if broke(answer):
            course.doubt = course.doubt or not isinstance(answer, NoReply) or answer.sent
            return answer
        assert isinstance(answer, Reply)
        if answer.payload is None:
            return answer  # whoever spoke, it was not Telegram
        line.away = None
        if course.call.method == "getMe":
            _remember(line, answer)
        return _done_before(course, answer)


# ---------------------------------------------------------------- what an answer means


def _again(answer: Answer, rules: Treatment) -> bool:
    """May, and should, the call be tried again?"""
    if isinstance(answer, NoReply):
        return answer.kind is not Break.FILE and (rules.repeats or not answer.sent)
    return rules.repeats and broke(answer)


def _remember(line: _Line, answer: Reply) -> None:
    """Who the bot is, as long as Telegram takes its token."""
    payload = answer.payload or {}
    if answer.status == 200 and payload.get("ok") is True and isinstance(payload.get("result"), Mapping):
        line.me = answer
    elif answer.status in (401, 404):
        line.me = None


def _done_before(course: _Course, answer: Reply) -> Reply:
    """A query that was answered is "too old" to be answered again: where an earlier try may have arrived, it did."""
    if not (course.doubt and course.rules.sheds and answer.status == 400):
        return answer
    outcome = classify(course.call.method, answer)
    if not isinstance(outcome, Delivered) or outcome.benign is None:
        return answer
    return Reply(200, {"ok": True, "result": True, "description": f"An earlier try went unanswered; {outcome.benign}"})


def _outcome(method: str, answer: Answer) -> str:
    outcome = classify(method, answer)
    if isinstance(outcome, Delivered) and outcome.benign is not None:
        return "refused"  # to deliver it is to have nothing left to do; here somebody asked, and was told no
    return name_of(outcome)


# ---------------------------------------------------------------- answers of our own


def _envelope(code: int, told: str, seconds: float) -> Reply:
    """An answer in Telegram's shape. `retry_after` stands in it for 429 alone: where libraries find it, they hold back
    everything they have to send, and what is stored need not wait."""
    payload: dict[str, object] = {"ok": False, "error_code": code, "description": told}
    if code == 429:
        payload["parameters"] = {"retry_after": math.ceil(seconds)}
    return Reply(code, payload, retry_after=float(math.ceil(seconds)))


def _closing(course: _Course) -> Reply:
    course.word = "closed"
    return _envelope(503, "Service Unavailable: Kurir is closing; ask again", SOON)
