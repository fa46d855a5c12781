"""Prometheus metrics: a listener that counts, and `/metrics` in which the counts, the store's figures and the couriers' are
written down.

Counters are of this process, since it began. Gauges that come from the store (`kurir_waiting`, `kurir_messages`, ...) are
the same in every process of one store: take their `max`, and the counters' `sum`. Labels never hold a chat, a text or a
token.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

from kurir.core.events import (
    Altered,
    Attempted,
    Called,
    Crashed,
    Event,
    Fenced,
    Forwarded,
    OutageBegan,
    Recovered,
    Settled,
    StoreTrouble,
    Submitted,
)
from kurir.core.judge import Finish
from kurir.core.message import Accepted, State
from kurir.core.methods import METHODS, Kind
from kurir.core.outcome import Refused, Scope, Throttled, name_of
from kurir.ports import Stats

from .buckets import REQUEST, Buckets
from .counts import BotCounts, dead_because
from .families import NOTHING, Live, Local, Totals, families

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REMEMBERED = 10_000  # messages whose refusal's scope is kept in mind at most


class Metrics(Collector):
    """Hears every event, counts requests at the doors, and writes it all down. For one event loop.

    `bots`: names by id, for the label `bot`; a bot without a name has its id there. `registry` takes further collectors.
    """

    def __init__(self, bots: Mapping[int, str], version: str) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._totals = Totals(dict(bots), {bot: BotCounts() for bot in bots}, version, platform.python_version())
        self._bots = self._totals.bots
        self._scopes: dict[str, Scope] = {}  # message -> why Telegram refused it, until it is settled
        self._scrape: tuple[Stats | None, tuple[Live, ...], float, Local] = (None, (), 0.0, NOTHING)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    # ---------------------------------------------------------------- hearing

    def hear(self, event: Event) -> None:
        """A listener."""
        heard = _HEARD.get(type(event))
        if heard is not None:
            heard(self, event)

    def request(self, door: str, status: int, seconds: float) -> None:
        """A request at `door` ("gateway", "rest", ...) was answered."""
        totals = self._totals
        totals.requests[door, status] = totals.requests.get((door, status), 0) + 1
        taken = totals.request_seconds.get(door)
        if taken is None:
            taken = totals.request_seconds[door] = Buckets(REQUEST)
        taken.add(seconds)

    def _of(self, bot: int) -> BotCounts:
        counts = self._bots.get(bot)
        if counts is None:
            counts = self._bots[bot] = BotCounts()
        return counts

    def _submitted(self, event: Submitted) -> None:
        for draft, accepted in zip(event.drafts, event.accepted, strict=True):
            counts = self._of(draft.bot)
            if accepted.duplicate:
                counts.duplicates += 1
                continue
            counts.submitted[draft.priority] += 1
            counts.spooled += accepted.spooled
            _entered(counts, accepted)

    def _forwarded(self, event: Forwarded) -> None:
        for draft, accepted in zip(event.drafts, event.accepted, strict=True):
            counts = self._of(draft.bot)
            counts.forwarded += 1
            _entered(counts, accepted)

    def _attempted(self, event: Attempted) -> None:
        claim, outcome, duration = event.claim, event.outcome, event.duration
        counts = self._bots.get(claim.bot) or self._of(claim.bot)
        counts.attempts[name_of(outcome)] += 1
        counts.recent.note(event.started_at + duration)
        counts.calls[METHODS.get(claim.method, Kind.ASK)].add(duration)
        if isinstance(outcome, Throttled):
            counts.throttled += 1
        elif isinstance(outcome, Refused) and isinstance(event.verdict, Finish):
            _keep(self._scopes, claim.id, outcome.scope)

    def _settled(self, event: Settled) -> None:
        state, id = event.state, event.claim.id
        if state is State.WAITING:
            return
        counts = self._bots.get(event.claim.bot) or self._of(event.claim.bot)
        scope = self._scopes.pop(id, None) if self._scopes else None
        if state is State.DELIVERED:
            counts.delivered += 1
            counts.delays.add(max(0.0, event.at - event.claim.ready_at))
        elif state is State.DEAD:
            counts.dead[dead_because(event.reason, scope)] += 1
        elif state is State.EXPIRED:
            counts.expired += 1
        elif state is State.CANCELLED:
            counts.cancelled += 1

    def _called(self, event: Called) -> None:
        counts = self._of(event.bot)
        kind = METHODS.get(event.method, Kind.ASK)
        key = (event.bot, kind, event.outcome)
        direct = self._totals.direct
        direct[key] = direct.get(key, 0) + 1
        counts.throttled += event.outcome == "throttled"
        self._totals.repeats[event.bot] = self._totals.repeats.get(event.bot, 0) + event.repeats

    def _altered(self, event: Altered) -> None:
        if event.by_hand:
            to = "purged" if event.state is None else event.state.value
            self._totals.altered[to] = self._totals.altered.get(to, 0) + len(event.ids)
        if event.bot is None:
            return
        if event.state is State.DEAD:
            self._of(event.bot).dead[dead_because(event.reason, None)] += len(event.ids)
        elif event.state is State.EXPIRED:
            self._of(event.bot).expired += len(event.ids)

    def _fenced(self, event: Fenced) -> None:
        self._of(event.claim.bot).fenced += 1
        self._scopes.pop(event.claim.id, None)

    def _recovered(self, event: Recovered) -> None:
        self._of(event.bot).recovered += event.claims

    def _outage(self, event: OutageBegan) -> None:
        self._of(event.bot).outages += 1

    def _crashed(self, event: Crashed) -> None:
        loop = "delivery" if event.loop.startswith("the delivery of ") else "courier"
        self._totals.crashes[loop] += 1

    def _trouble(self, event: StoreTrouble) -> None:
        self._totals.store_troubles += 1

    # ---------------------------------------------------------------- writing down

    def text(self, stats: Stats | None, live: Iterable[Live], now: float, local: Local = NOTHING) -> bytes:
        """Everything in Prometheus' text format (`CONTENT_TYPE`). `stats`: None while the store is away; `live`: the
        couriers at work in this process; `now` in Unix seconds; `local`: what this machine knows of the store."""
        self._scrape = (stats, tuple(live), now, local)
        try:
            return generate_latest(self.registry)
        finally:
            self._scrape = (None, (), now, NOTHING)

    def collect(self) -> Iterable[Any]:
        """For `registry`."""
        return families(self._totals, *self._scrape)


def _entered(counts: BotCounts, accepted: Accepted) -> None:
    """What the store made of it."""
    if accepted.state is State.DEAD:
        counts.dead["suppressed"] += 1
    counts.superseded += accepted.replaces is not None


def _keep(memory: dict[str, Any], id: str, value: Any) -> None:
    """Remember it; the oldest is forgotten where there are too many."""
    if len(memory) >= REMEMBERED:
        del memory[next(iter(memory))]
    memory[id] = value


_HEARD: dict[type[Any], Callable[[Metrics, Any], None]] = {
    Submitted: Metrics._submitted,
    Attempted: Metrics._attempted,
    Settled: Metrics._settled,
    Altered: Metrics._altered,
    Called: Metrics._called,
    Fenced: Metrics._fenced,
    Forwarded: Metrics._forwarded,
    Recovered: Metrics._recovered,
    OutageBegan: Metrics._outage,
    Crashed: Metrics._crashed,
    StoreTrouble: Metrics._trouble,
}
