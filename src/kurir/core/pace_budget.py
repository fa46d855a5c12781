"""The bot's own budget: places reserved in it, and whether a 429 concerns it or only the chat it came from.

A 429 does not tell (https://github.com/tdlib/td/issues/715). Several chats refused within seconds point to
the bot, save those whose own use explains it while later calls pass. Until that is clear the bot probes, a
call each `PROBE` seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from .pace_gate import JITTER, Gate, Shape
from .pace_learn import Lesson
from .pace_limits import Limits

UNLIMITED = 1 << 30
PROBE = 0.25  # seconds between calls while a 429's scope is unclear
SUSPICION = 2.0  # seconds after which an unclear 429 is taken to be the chat's
EARLY = 1.0  # seconds: refused so soon after a wait, the wait told was too short (it is told in whole seconds)
BUSY = 0.5  # a bot that used less of its limit does not explain a chat's 429 better than the chat's own use


@dataclass(frozen=True, slots=True)
class Evidence:
    """One chat's 429, and what its gate was before it was blamed for it."""

    at: float  # departure
    heard_at: float
    until: float  # the wait told ends
    explained: bool  # by the chat's own use
    gate: Gate
    before: tuple[Shape, Lesson | None, float]

    def acquit(self) -> bool:
        """Take back what the chat was blamed for; answers whether it was."""
        gate, blamed = self.gate, self.gate.shape is not self.before[0]
        gate.shape, gate.lesson, gate.try_at = self.before
        gate.strike_at = 0.0
        return blamed


class Budget:
    """One budget of the bot (free, or paid). Times are Unix seconds."""

    __slots__ = (
        "accepted_at",
        "again",
        "ceiling",
        "episode",
        "evidence",
        "gate",
        "limits",
        "name",
        "reserved",
        "suspect_at",
        "suspect_until",
    )

    def __init__(self, name: str, shape: Shape, limits: Limits) -> None:
        self.name = name
        self.limits = limits
        self.ceiling = shape
        self.gate = Gate(shape)
        self.reserved = 0
        self.accepted_at = 0.0  # departure of the latest call known to be accepted
        self.suspect_at = 0.0  # departure of a 429 whose scope is unclear; 0: none
        self.suspect_until = 0.0
        self.episode = (0.0, 0.0)  # departures that the last verdict covers
        self.again = 0  # times in a row the first call after a pause was refused
        self.evidence: dict[str, Evidence] = {}

    def available(self, now: float, horizon: float) -> int:
        """How many may leave until `now + horizon`, less those reserved."""
        gate = self.gate
        if not self.limits.on:
            return UNLIMITED if gate.until <= now + horizon else 0
        room = gate.room(now, now + horizon)
        if self.suspect_at and self.suspect_until > now:
            room = min(room, 1)
        return max(0, room - self.reserved)

    def reserve(self, now: float) -> float:
        """Hold one place; answers when its holder will leave as things stand, >= now."""
        gate = self.gate
        if not self.limits.on:
            return max(now, gate.until)
        ahead, shape, log = self.reserved, gate.shape, gate.log
        self.reserved = ahead + 1
        at = max(gate.tat, now, gate.until + shape.slack) + ahead * shape.step - shape.slack
        windows, place = divmod(ahead, shape.n)
        if len(log) >= shape.n - place:
            at = max(at, log[place - shape.n] + (1 + windows) * shape.span)
        return max(at, now, gate.until)

    def ready_at(self, now: float) -> float:
        """When the next may leave; <= now: now."""
        gate = self.gate
        if not self.limits.on:
            return gate.until
        at = gate.ready(now)
        if self.suspect_at and self.suspect_until > now and gate.log:
            at = max(at, min(gate.log[-1], now) + PROBE)
        return at

    def accepted(self, at: float) -> None:
        """What left at `at` was accepted: a 429 of something earlier was not the whole bot's."""
        if at > self.accepted_at:
            self.accepted_at = at
            if self.suspect_at and at > self.suspect_at + JITTER:
                self.suspect_at = 0.0

    def known(self, at: float, until: float) -> bool:
        """Whether the 429 of what left at `at` is no news but the bot's last one again: it was in flight
        then, or the first to leave after the pause. Then the pause goes on."""
        paused = self.gate.until
        start, end = self.episode
        flying = start <= at <= end
        if not flying:
            if self.accepted_at > end:
                self.again = 0
            if not (0 < paused <= at < paused + EARLY and self.accepted_at < paused and self.again < 2):
                return False
            self.again += 1
            self.episode = (at, at + JITTER)
        self.gate.pause(until)
        return True

    def suspect(self, chat: str, evidence: Evidence) -> list[Evidence] | None:
        """Weigh a chat's 429. Answers all the evidence if the bot's limit is to blame, which it then pauses
        for."""
        now, at = evidence.heard_at, evidence.at
        since = now - self.limits.several_within
        kept = {name: e for name, e in self.evidence.items() if e.heard_at >= since}
        kept[chat] = evidence
        self.evidence = kept
        count = sum(1 for e in kept.values() if not e.explained or self.accepted_at <= e.at + JITTER)
        needed = 1 if self._trying(evidence) else self.limits.several
        if count < needed or all(e.explained for e in kept.values()):
            plain = evidence.explained and self.gate.usage(at) < BUSY
            if not plain and self.accepted_at <= at + JITTER:
                self.suspect_at, self.suspect_until = at, now + SUSPICION
            return None
        self.suspect_at, self.again, self.evidence = 0.0, 0, {}
        self.episode = (min(e.at for e in kept.values()), now)
        return list(kept.values())

    def _trying(self, evidence: Evidence) -> bool:
        """Whether a higher limit is being tried and was used: then one chat's refusal that it does not
        explain will do."""
        gate, lesson = self.gate, self.gate.lesson
        if lesson is None or gate.shape == lesson.good or evidence.explained:
            return False
        return gate.accepted(evidence.at - gate.shape.seconds, evidence.at) >= 0.9 * lesson.good.count
