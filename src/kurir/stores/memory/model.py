"""What the memory store holds: messages, lanes, bots; and how they are shown as claims and records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kurir import ports
from kurir.core.message import Attempt, Claim, Draft, Priority, Record, State

from .agenda import Agenda


@dataclass(slots=True, eq=False)
class Message:
    """One stored message. It is in flight iff `token` is set; `state` is then still WAITING."""

    draft: Draft
    seq: int
    pos: float  # place in the lane's order: `seq`, unless it took another's place or was requeued
    due_at: float
    expires_at: float | None
    state: State = State.WAITING
    token: int | None = None
    ended_at: float | None = None
    reason: str | None = None
    result: bytes | None = None
    tries: int = 0
    doubts: int = 0
    crashes: int = 0
    superseded_by: str | None = None
    requeued_at: float | None = None
    attempts: list[Attempt] = field(default_factory=list)
    asked_at: float | None = field(init=False)  # due at first; None: at once

    def __post_init__(self) -> None:
        self.asked_at = self.due_at or None

    @property
    def shown_state(self) -> State:
        """As people see it: `sending` while in flight."""
        return self.state if self.token is None else State.SENDING

    @property
    def target_id(self) -> str | None:
        """The message id in `target`: what the call is about."""
        target = self.draft.target
        return None if target is None else target.rpartition(":")[0]


@dataclass(slots=True, eq=False)
class Lane:
    """A (bot, chat) with what waits for it.

    Every waiting message is in `waiting`; besides it is `flying`, or in `order` (holds its place; by priority
    and pos), or in `later` (by due_at). `head` is the first of `order`, None while something is in flight; it
    came to be so at `since`.
    """

    id: int  # order of creation
    bot: int
    chat: str
    chat_at: float = 0.0
    chat_why: str | None = None
    since: float = 0.0
    suppressed: str | None = None
    suppressed_at: float = 0.0
    messages: int = 0  # of any state
    head: int | None = None
    flying: Message | None = None
    waiting: dict[int, Message] = field(default_factory=dict)
    order: Agenda = field(default_factory=Agenda)
    later: Agenda = field(default_factory=Agenda)
    about: dict[str, dict[int, Message]] = field(default_factory=dict)  # waiting, by message id in `target`

    def quiet(self, until: float, why: str | None = None) -> None:
        """The chat hears nothing before `until`, if that is later than what holds already."""
        if until > self.chat_at:
            self.chat_at, self.chat_why = until, why

    def replaceable(self, new: Message) -> Message | None:
        """The last waiting message that `new` may replace."""
        older = [
            message
            for message in self.about.get(new.target_id or "", {}).values()
            if message is not self.flying
            and (message.draft.target, message.draft.priority) == (new.draft.target, new.draft.priority)
        ]
        return max(older, key=lambda message: message.pos, default=None)

    def newer(self, than: Message) -> Message | None:
        """The newest waiting message of the same target, if it is newer `than` that one."""
        like = [m for m in self.about.get(than.target_id or "", {}).values() if m.draft.target == than.draft.target]
        newest = max(like, key=lambda message: message.seq, default=than)
        return newest if newest.seq > than.seq else None

    def has_behind(self, message: Message) -> bool:
        """Whether something else about the same message stands behind this one."""
        return any(other.pos > message.pos for other in self.about[message.target_id or ""].values())

    def ready_at(self) -> float | None:
        """When its head may leave at the earliest; None while something is in flight, or nothing holds a place."""
        return None if self.head is None else max(self.chat_at, self.waiting[self.head].due_at, self.since)

    def next_at(self) -> float | None:
        """When a message of it may leave at the earliest; None while something is in flight, or nothing waits."""
        later = None if self.flying is not None or self.head is not None else self.later.at()
        return self.ready_at() if later is None else max(self.chat_at, later)

    def idle(self, since: float) -> bool:
        """Nothing is, or need be, remembered of it: it was free to send before `since`."""
        return not self.messages and self.suppressed is None and self.chat_at < since


@dataclass(slots=True, eq=False)
class Bot:
    """A bot's lease, pause, counts, and its lanes with nothing in flight by when they can be claimed from."""

    id: int
    holder: str | None = None
    token: int = 0
    until: float = 0.0
    paused_until: float = 0.0
    paused_why: str | None = None
    fenced: int = 0
    busy_lanes: int = 0  # with messages waiting
    counts: Counter[State] = field(default_factory=Counter)
    flying: dict[int, Message] = field(default_factory=dict)
    calls: int = 0  # attempts so far
    recent: list[tuple[float, int, int]] = field(default_factory=list)  # (started_at, calls, seq): heap
    ready: dict[Priority, Agenda] = field(default_factory=lambda: {p: Agenda() for p in Priority})  # by head
    later: Agenda = field(default_factory=Agenda)  # messages that will get their places back, by due_at
    wakes: Agenda = field(default_factory=Agenda)  # lanes by when the first of `later` can get its place back

    def next_ready(self) -> float | None:
        """The earliest time at which a lane is, or may become, ready; None if none will be by itself."""
        return first_of((*self.ready.values(), self.wakes))

    def ready_since(self) -> float | None:
        """The earliest time at which a lane that has a head is ready."""
        return first_of(self.ready.values())


def first_of(agendas: Iterable[Agenda]) -> float | None:
    """The earliest time on any of the agendas, None if that is never."""
    first = min((at for agenda in agendas if (at := agenda.at()) is not None), default=math.inf)
    return None if math.isinf(first) else first


def claim_of(message: Message, lane: Lane, token: int, file_ids: Mapping[tuple[str, str], str]) -> Claim:
    """The message as a courier holds it under `token`."""
    draft = message.draft
    return Claim(
        seq=message.seq,
        token=token,
        lane=lane.id,
        id=draft.id,
        bot=draft.bot,
        chat=lane.chat,
        method=draft.method,
        params=draft.params,
        priority=draft.priority,
        accepted_at=draft.accepted_at,
        files=draft.files,
        expires_at=message.expires_at,
        options=draft.options,
        tries=message.tries,
        attempts=len(message.attempts),
        doubts=message.doubts,
        crashes=message.crashes,
        suppressed=lane.suppressed,
        file_ids=file_ids,
        asked_at=message.asked_at,
        requeued_at=message.requeued_at,
    )


def record_of(message: Message, chat: str, with_attempts: bool) -> Record:
    """The message as people see it; `chat` is what its chat is called today."""
    draft = message.draft
    return Record(
        id=draft.id,
        seq=message.seq,
        bot=draft.bot,
        chat=chat,
        method=draft.method,
        params=draft.params,
        state=message.shown_state,
        priority=draft.priority,
        accepted_at=draft.accepted_at,
        due_at=message.due_at,
        ended_at=message.ended_at,
        expires_at=message.expires_at,
        reason=message.reason,
        result=message.result,
        key=draft.key,
        metadata=draft.metadata,
        files=draft.files,
        options=draft.options,
        tries=message.tries,
        doubts=message.doubts,
        crashes=message.crashes,
        superseded_by=message.superseded_by,
        attempts=tuple(message.attempts) if with_attempts else (),
    )


def lane_of(lane: Lane) -> ports.Lane:
    """The lane as people see it."""
    now = lane.flying or (None if lane.head is None else lane.waiting[lane.head])
    return ports.Lane(
        bot=lane.bot,
        chat=lane.chat,
        waiting=len(lane.waiting),
        sending=lane.flying is not None,
        next_at=lane.next_at(),
        chat_at=lane.chat_at,
        head=None if now is None else now.draft.id,
        suppressed=lane.suppressed,
        suppressed_at=None if lane.suppressed is None else lane.suppressed_at,
        chat_why=lane.chat_why,
    )


def stats_of(bot: Bot) -> ports.BotStats:
    """The bot's counts; `waiting` includes what is in flight."""
    return ports.BotStats(
        bot=bot.id,
        waiting=bot.counts[State.WAITING],
        sending=len(bot.flying),
        delivered=bot.counts[State.DELIVERED],
        dead=bot.counts[State.DEAD],
        cancelled=bot.counts[State.CANCELLED],
        expired=bot.counts[State.EXPIRED],
        lanes=bot.busy_lanes,
        oldest_due=bot.ready_since(),
        fenced=bot.fenced,
        holder=bot.holder,
        lease_until=bot.until if bot.holder is not None else None,
        paused_until=bot.paused_until,
        paused_why=bot.paused_why,
    )
