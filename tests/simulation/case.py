"""A run's evidence, arranged for the questions that the promises ask."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from kurir.core.judge import CRASHED
from kurir.core.message import Record, State
from kurir.simulator.journal import Entry, Verb
from tests.virtual import EPOCH

from .process import CallRecord, Settled, mark_of
from .run import Evidence
from .scenario import ChatPlan

TINY = 1e-5  # seconds: what floats of Unix times resolve, several times over


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was not kept."""

    promise: str
    what: str
    about: tuple[str, ...] = ()  # marks, ids, chats to look for in the trace

    def __str__(self) -> str:
        return f"{self.promise}: {self.what}"


class Case:
    """The evidence, arranged for questions."""

    def __init__(self, evidence: Evidence) -> None:
        self.e = evidence
        self.s = evidence.scenario
        self.log = evidence.log
        self.journal = evidence.world.journal
        self.by_id = {record.id: record for record in evidence.records}
        self.plans = {plan.mark: plan for plan in self.s.plans}
        self.chats: dict[str, ChatPlan] = {}
        for chat in self.s.chats:
            self.chats[str(chat.id)] = chat
            if chat.to:
                self.chats[str(chat.to)] = chat

    def mark(self, record: Record) -> str | None:
        return mark_of(record.method, orjson.loads(record.params))

    def chat(self, chat: Any) -> str:
        """A chat's name of today."""
        return str(self.journal._chat(chat))

    @cached_property
    def marked(self) -> dict[str, list[Record]]:
        """Records of the planned messages, by mark."""
        found: dict[str, list[Record]] = defaultdict(list)
        for record in self.e.records:
            if record.metadata and "mark" in record.metadata:
                found[record.metadata["mark"]].append(record)
        return found

    @cached_property
    def copies(self) -> dict[str, list[Entry]]:
        """What the world has of each mark, in order of arrival."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.journal.entries:
            if entry.verb in (Verb.SENT, Verb.PARTIAL) and entry.mark:
                found[entry.mark].append(entry)
        return found

    @cached_property
    def calls_of(self) -> dict[tuple[str, str], list[CallRecord]]:
        """Calls by (chat of today, mark)."""
        found: dict[tuple[str, str], list[CallRecord]] = defaultdict(list)
        for call in self.log.calls:
            if call.mark:
                found[self.chat(call.chat), call.mark].append(call)
        return found

    @cached_property
    def call_of_entry(self) -> dict[int, CallRecord]:
        return {call.entry: call for call in self.log.calls if call.entry is not None}

    @cached_property
    def settled_of(self) -> dict[str, list[Settled]]:
        """Settlements that the store took, by message id."""
        found: dict[str, list[Settled]] = defaultdict(list)
        for settled in self.log.settled:
            if settled.kept:
                found[settled.settlement.claim.id].append(settled)
        return found

    @cached_property
    def due_at(self) -> dict[str, float]:
        """When each message was to be sent at the earliest, by id."""
        return {accepted.id: draft.due_at for _, draft, accepted in self.log.submits if draft.id == accepted.id}

    @cached_property
    def killed(self) -> dict[str, float]:
        return {name: at for at, name in self.log.kills}

    def requeued(self, record: Record) -> float | None:
        """When it was retried by hand first."""
        times = [at for at, what in self.log.changed.get(record.id, ()) if what == "Requeue"]
        return min(times, default=None)

    def over_at(self, record: Record) -> float | None:
        """When the store took it that the message is cancelled, expired or superseded; later than it was asked to."""
        if record.state not in (State.CANCELLED, State.EXPIRED):
            return None
        took = [at for at, what in self.log.changed.get(record.id, ()) if what in ("Cancel", "Expire")]
        took += [at for at, draft, _ in self.log.submits if draft.id == record.superseded_by]
        return max(took, default=record.ended_at)

    def calls(self, record: Record) -> list[CallRecord]:
        mark = self.mark(record)
        found = self.calls_of.get((self.chat(record.chat), mark or ""), [])
        return [call for call in found if call.method == record.method]

    def outage_at(self, at: float) -> Any:
        for outage in self.s.outages:
            if outage.start <= at - EPOCH < outage.end:
                return outage
        return None

    def durable(self, call: CallRecord, record: Record) -> bool:
        """Did the store take the settlement that this call led to?"""
        return any(
            s.settlement.attempt is not None
            and s.settlement.attempt.error != CRASHED
            and s.process == call.process
            and abs(s.settlement.attempt.started_at - call.started) < TINY
            for s in self.settled_of.get(record.id, ())
        )

    def in_trouble(self, process: str) -> bool:
        who = process.partition(".")[0]
        return any(t.who in (who, "all") for t in self.s.troubles)


def exempt(case: Case, record: Record, mark: str) -> bool:
    plan = case.plans.get(mark)
    if plan is None or plan.due_in is not None or case.requeued(record) is not None:
        return True
    return any(gave_way(s) for s in case.settled_of.get(record.id, ()))


def gave_way(settled: Settled) -> bool:
    """Did the message move to the slow schedule?"""
    return settled.settlement.later
