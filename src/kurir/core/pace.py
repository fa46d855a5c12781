"""When may what leave? One `Pace` per bot counts what left, says when the next may, and learns from 429s.

    claim   n = available(now, horizon); claim n, of which low(n) may be LOW; claimed(...); reserve each
    leave   while (at := ready_at(now)) > now: sleep; then, with no await in between: sent(...), and the call
    answer  accepted: answered · 429: throttled, which tells the pauses · claim handed back: unreserve

A reservation holds a place, not a moment: however late the event loop wakes, `ready_at` keeps the limits,
and unused time is caught up within them. Budgets nest: the bot's, then the chat's. No clock is read here:
every time is passed in, in Unix seconds. Single-threaded. State: a few hundred bytes for each chat that
heard something lately.

`pace_limits` has what is set and told, `pace_gate` one limit's arithmetic, `pace_budget` the bot's budget
and the question whom a 429 concerns, `pace_learn` how a limit is corrected.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .pace_budget import EARLY, Budget, Evidence
from .pace_gate import Gate, Shape
from .pace_learn import hope, lower
from .pace_limits import Correction, Limits, PaceState, Rate, Throttle

__all__ = ["Correction", "Limits", "Pace", "PaceState", "Rate", "Throttle"]

EXPLAINED = 0.6  # a chat that used this share of its own limit explains its 429 by itself
STRIKE = 300.0  # seconds: a chat's second unexplained 429 within them is its own after all
TEACHERS = 3  # so many chats with a lesson teach it to all of their kind ...
TEACH = 600.0  # ... for so many seconds at first, if learned within so many
LONGEST_TEACH = 4 * 3600.0


@dataclass(slots=True)
class _Kind:
    """All private chats, or all groups and channels."""

    name: str
    ceiling: Shape
    shape: Shape
    until: float = 0.0  # the correction of the kind ends
    hold: float = TEACH  # seconds the next one lasts
    taught: dict[str, tuple[float, Shape]] = field(default_factory=dict)  # chat -> when, what


class Pace:
    """One bot's pace; see the module's text for the order of calls. `paid`: the call is an
    `allow_paid_broadcast`."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._on = limits.on
        private = Shape.of(limits.chat, limits.chat_burst)
        group = Shape.of(limits.group, max(1, int(limits.group.count)))
        self._bot = Budget("bot", Shape.of(limits.bot, limits.bot_burst), limits)
        self._paid = Budget("paid", Shape.of(limits.paid, limits.paid_burst), limits)
        self._private = _Kind("private chats", private, private)
        self._groups = _Kind("groups", group, group)
        self._chats: dict[str, Gate] = {}
        self._hand: deque[str] = deque()  # each key of `_chats` once: the order in which to look for idle ones
        self._low = 0.0  # of a message: what LOW may have more
        self._corrections: deque[Correction] = deque(maxlen=1000)

    # ---------------------------------------------------------------- the bot's budget

    def available(self, now: float, horizon: float, paid: bool = False) -> int:
        """How many more claims fit: calls that may leave until `now + horizon` (seconds), less those
        reserved."""
        return (self._paid if paid else self._bot).available(now, horizon)

    def reserve(self, now: float, paid: bool = False) -> float:
        """Hold a place for one call; returns when it will leave as things stand, >= now. `sent` or
        `unreserve` ends it."""
        return (self._paid if paid else self._bot).reserve(now)

    def unreserve(self, paid: bool = False) -> None:
        """A reserved call will not leave: its claim was handed back."""
        budget = self._paid if paid else self._bot
        if budget.reserved:
            budget.reserved -= 1

    def ready_at(self, now: float, paid: bool = False) -> float:
        """When the next call may leave; <= now: now. Ask just before the call, and again after sleeping."""
        return (self._paid if paid else self._bot).ready_at(now)

    def pause(self, until: float) -> None:
        """The bot sends nothing before `until` (by hand, or told before a restart); inf: until 0 resumes."""
        for budget in (self._bot, self._paid):
            if until <= 0:
                budget.gate.until = 0.0
            budget.gate.pause(until)

    # ---------------------------------------------------------------- chats

    def chat_slot(self, chat: str, is_group: bool, now: float, cost: int = 1) -> float:
        """When `chat` may hear the next call that costs `cost`; <= now: now."""
        gate = self._chats.get(chat)
        if gate is None:
            return 0.0
        return gate.ready(now, cost) if self._on and cost else gate.until

    def sent(
        self, chat: str, is_group: bool, at: float, cost: int = 1, *, paid: bool = False, booked: bool = True
    ) -> float:
        """A call left at `at`. Of the chat's budget it takes `cost` (0: none, a chat action), of the bot's at
        least 1. `booked`: it was reserved. Returns `chat_at`, the earliest time this chat may hear again."""
        gate = self._chats.get(chat)
        if not self._on:
            return gate.until if gate is not None else 0.0
        budget = self._paid if paid else self._bot
        if booked and budget.reserved:
            budget.reserved -= 1
        budget.gate.note(at, cost or 1)
        if at >= budget.gate.try_at:
            self._hope(budget.name, budget.gate, at)
        if gate is None:
            gate = self._meet(chat, is_group, at)
        if cost:
            gate.note(at, cost)
            if at >= gate.try_at:
                self._hope(chat, gate, at)
        return gate.ready(at)

    def answered(self, at: float, paid: bool = False) -> None:
        """Telegram accepted the call that left at `at`."""
        (self._paid if paid else self._bot).accepted(at)

    def throttled(
        self, chat: str, is_group: bool, now: float, retry_after: float, at: float, paid: bool = False
    ) -> Throttle:
        """Telegram answered 429 at `now`, with `retry_after` seconds to wait, to the call that left at
        `at`."""
        budget = self._paid if paid else self._bot
        gate = self._chats.get(chat) or self._meet(chat, is_group, now)
        waited = max(gate.until, budget.gate.until)
        early = 0 < waited <= at < waited + EARLY
        until = now + max(0.0, retry_after) + (EARLY if early else self.limits.throttle_buffer)
        news = at > gate.refused_at  # else: in flight when this chat's last 429 came
        gate.refuse(at, now)
        explained = self._on and gate.usage(at) >= EXPLAINED
        before = (gate.shape, gate.lesson, gate.try_at)
        gate.pause(until)
        budget.gate.refuse(at, now)
        if budget.known(at, until):
            return Throttle(self._resumes(gate, now), budget.gate.until)
        if self._on and news:
            if explained or now - gate.strike_at < STRIKE:
                self._blame(chat, is_group, gate, at, now, retry_after)
            gate.strike_at = now
        verdict = budget.suspect(chat, Evidence(at, now, until, explained, gate, before))
        if verdict is None:
            return Throttle(self._resumes(gate, now))
        self._blame_bot(budget, verdict, now)
        return Throttle(self._resumes(gate, now), budget.gate.until)

    def _resumes(self, gate: Gate, now: float) -> float:
        """The wait told is over, and the limit as corrected has room."""
        return gate.ready(now) if self._on else gate.until

    # ---------------------------------------------------------------- learning

    def _blame_bot(self, budget: Budget, evidence: list[Evidence], now: float) -> None:
        """The bot's limit was exceeded: pause it for the longest told, correct it, acquit the chats."""
        until = max(e.until for e in evidence)
        if self._on:
            lower(budget.gate, min(e.at for e in evidence), now, until - now)
            self._corrected(budget.name, budget.gate.shape, now)
        budget.gate.pause(until)
        acquitted = {id(e.gate): e.gate for e in evidence if e.acquit()}
        for chat, gate in self._chats.items() if acquitted else ():
            if id(gate) in acquitted:
                self._corrected(chat, gate.shape, now)
                self._private.taught.pop(chat, None)
                self._groups.taught.pop(chat, None)

    def _blame(self, chat: str, is_group: bool, gate: Gate, at: float, now: float, told: float) -> None:
        """The chat's own limit was exceeded. Where several of its kind learned that lately, all of the kind
        go by the mildest of their lessons, for a time."""
        lower(gate, at, now, told)
        self._corrected(chat, gate.shape, now)
        kind = self._groups if is_group else self._private
        taught = kind.taught = {c: v for c, v in kind.taught.items() if v[0] > now - TEACH}
        taught[chat] = (now, gate.shape)
        if len(taught) < TEACHERS:
            return
        shapes = [shape for _, shape in taught.values()]
        mildest = kind.shape.to(max(s.count for s in shapes), max(s.burst for s in shapes))
        taught.clear()
        if mildest.count > kind.shape.count or mildest.burst > kind.shape.burst or mildest == kind.shape:
            return
        self._teach(kind, mildest, now)
        kind.until = now + kind.hold
        kind.hold = min(2 * kind.hold, LONGEST_TEACH)

    def _teach(self, kind: _Kind, shape: Shape, now: float) -> None:
        """All chats of a kind that learned nothing of their own go by `shape`."""
        for gate in self._chats.values():
            if gate.shape is kind.shape:
                gate.shape = shape
        kind.shape = shape
        self._corrected(kind.name, shape, now)

    def _hope(self, scope: str, gate: Gate, now: float) -> None:
        was = gate.shape
        hope(gate, now)
        if gate.shape != was:
            self._corrected(scope, gate.shape, now)

    def _corrected(self, scope: str, shape: Shape, now: float) -> None:
        self._corrections.append(Correction(scope, shape.per_second, shape.burst, now))

    def corrections(self) -> list[Correction]:
        """What was corrected since the last call, oldest first."""
        found = list(self._corrections)
        self._corrections.clear()
        return found

    # ---------------------------------------------------------------- broadcasts

    def low(self, slots: int) -> int:
        """How many of the next `slots` claims LOW may have though others wait. Its share adds up in
        fractions; unused, it is not saved beyond one message. Report what came of it with `claimed`."""
        return min(slots, int(self._low + slots * self.limits.low_share + 1e-9))

    def claimed(self, low: int, others: int) -> None:
        """What a claim brought: `low` LOW ones and `others`. Where no others waited, LOW owes nothing."""
        if others == 0:
            self._low = 0.0
            return
        credit = self._low + (low + others) * self.limits.low_share - low
        self._low = max(0.0, min(credit, 1.0))

    # ---------------------------------------------------------------- state

    def _meet(self, chat: str, is_group: bool, now: float) -> Gate:
        """A chat not known (any more). Two known ones are looked at and forgotten if idle: so the number of
        known ones stays below about twice those that matter, however many pass."""
        kind = self._groups if is_group else self._private
        if kind.shape is not kind.ceiling and kind.until <= now:
            self._teach(kind, kind.ceiling, now)
        hand, chats = self._hand, self._chats
        for _ in range(min(2, len(hand))):
            known = hand.popleft()
            if chats[known].idle(now):
                del chats[known]
            else:
                hand.append(known)
        hand.append(chat)
        gate = chats[chat] = Gate(kind.shape)
        return gate

    def restore(self, recent: Iterable[tuple[str, float]], is_group: Callable[[str], bool], now: float) -> None:
        """After a start: what left in the last minute, as (chat, departure), in any order. A time ahead of
        `now` (another machine's clock) counts as now. Pass what was in flight at a crash as leaving now. No
        burst follows."""
        if not self._on:
            return
        for at, chat in sorted((min(at, now), chat) for chat, at in recent):
            self._bot.gate.note(at)
            (self._chats.get(chat) or self._meet(chat, is_group(chat), at)).note(at)
        self._bot.gate.tat = max(self._bot.gate.tat, now + self._bot.gate.shape.slack)

    @property
    def rate(self) -> float:
        """Messages/s the bot may send now, a pause aside."""
        return self._bot.gate.shape.per_second

    @property
    def paused_until(self) -> float:
        """Unix seconds; in the past: not paused."""
        return self._bot.gate.until

    def state(self) -> PaceState:
        """For metrics and people."""
        return PaceState(
            rate=self.rate,
            ceiling=self._bot.ceiling.per_second,
            chat_rate=self._private.shape.per_second,
            group_rate=self._groups.shape.per_second,
            paused_until=self.paused_until,
            known_chats=len(self._chats),
            learned={c: g.shape.per_second for c, g in self._chats.items() if g.lesson is not None},
        )
